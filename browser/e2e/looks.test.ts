import { mkdirSync } from "node:fs";
import { test } from "node:test";

import { Tab, Wire, browse, serve } from "./harness.js";

/** The folder of the pictures. They are for people to look at. */
const FOLDER = "e2e/screenshots";
mkdirSync(FOLDER, { recursive: true });

const desktop = await browse();
const phone = await browse("--force-device-scale-factor=2");
const { address } = await serve();

const colors = String.raw`for i in 3 4 9 10; do for j in 0 1 2 3 4 5 6 7; do printf '\033['$i$j'm %3d ' $i$j; done; printf '\033[0m\n'; done`;
const looks = [
  { name: "light", browser: desktop, options: { colorScheme: "light" } },
  { name: "dark", browser: desktop, options: { colorScheme: "dark" } },
  {
    name: "phone",
    browser: phone,
    options: { colorScheme: "light", viewport: { width: 390, height: 760 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 },
  },
] as const;

for (const { name, browser, options } of looks) {
  test(`pictures: ${name}`, async () => {
    const wire = await Wire.to(address);
    const tab = await Tab.open(browser, wire.address, options);
    const picture = (what: string) => tab.page.screenshot({ path: `${FOLDER}/${name}-${what}.png`, animations: "disabled" });
    await tab.connected();
    await tab.run("cd /");
    await tab.type("clear\n");
    await tab.shows(/^[^\n]*[#$] ?$/);
    await tab.run(colors);
    await tab.run("ls --color=always -F /");
    await tab.run(String.raw`printf '\033[1mbold\033[0m \033[3mitalic\033[0m \033[4munderlined\033[0m ✓ 界 👩‍🚀 https://example.com/ ┌──┐\n'`);
    await picture("terminal");
    await tab.press("Control+Shift+F");
    await tab.page.getByRole("search").waitFor();
    await tab.type("bin");
    await tab.page.locator("#search output").filter({ hasText: /of/ }).waitFor();
    await picture("search");
    await tab.press("Escape", "Control+Shift+L");
    await tab.page.locator("#sessions li").first().waitFor();
    await picture("sessions");
    await tab.press("Escape");
    wire.cut();
    await tab.page.getByText(/Reconnecting in/).waitFor();
    await picture("disconnected");
    wire.mend();
    await tab.connected();
    await tab.type("exit\n");
    await tab.says("The shell has exited.");
    await picture("ended");
    await tab.close();
  });
}

test("pictures: token", async () => {
  const guarded = await serve("--random-token");
  const tab = await Tab.open(desktop, guarded.address.replace(/#.*/, ""), { colorScheme: "light" });
  await tab.page.getByRole("dialog").waitFor();
  await tab.page.screenshot({ path: `${FOLDER}/light-token.png` });
  await tab.type("wrong");
  await tab.press("Enter");
  await tab.page.getByText("That token is wrong").waitFor();
  await tab.page.screenshot({ path: `${FOLDER}/light-token-wrong.png` });
  await tab.close();
});
