#!/usr/bin/env node
// Uses the whole screen like an editor. It draws the screen, and draws again when the size changes. It shows the first key, and
// exits at the second.
const { stdin, stdout } = process;
let pressed = "";

function draw() {
  stdout.write(`\x1b[H\x1b[2J${stdout.rows} by ${stdout.columns}\x1b[${stdout.rows};1H-- INSERT --`);
  if (pressed) stdout.write(`\x1b[3;5Hkey ${pressed}`);
}

stdin.setRawMode(true).on("data", (keys) => {
  for (const key of String(keys)) {
    if (pressed) stdin.pause(); // then the program exits
    else pressed = key;
  }
  draw();
});
stdout.on("resize", draw);
process.on("exit", () => stdout.write("\x1b[?1049l"));
stdout.write("\x1b[?1049h");
draw();
