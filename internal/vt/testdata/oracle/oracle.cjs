// Judges snapshots by xterm.js. Each line of stdin is a request in JSON, each line of stdout its answer:
//
//   {rows, cols, scrollback, steps, cases}
//     steps: what the terminal gets: base64 of bytes, or [rows, cols] for a resize
//     cases: snapshots: {step, offset, rows, cols, snapshot}, taken in step before the byte at offset
//   {differences: [{case, key, want, got}], replies, error}
//     for each case what differs first from the terminal that got all steps
//   {widths: [first, last]} is answered with the widths of these code points, a digit each
'use strict';
const { Terminal } = require('@xterm/headless');
const { Unicode11Addon } = require('@xterm/addon-unicode11');
const readline = require('node:readline');

let terminal, core, replies, colors;

// fresh makes the terminal as new.
function fresh(rows, cols, scrollback) {
  if (!terminal || terminal.options.scrollback !== scrollback) {
    terminal?.dispose();
    terminal = new Terminal({ rows, cols, scrollback, logLevel: 'off', allowProposedApi: true });
    terminal.loadAddon(new Unicode11Addon());
    terminal.unicode.activeVersion = '11';
    core = terminal._core;
    core.coreService.onData((s) => { replies += s; });
    core._inputHandler.onColor((events) => events.forEach(setColor));
    dropRowsWithoutRoom(core.buffers.normal.lines);
    eraseInTheLastRow(core._inputHandler);
  }
  replies = '';
  colors = {};
  terminal.resize(cols, rows);
  core._inputHandler._parser.reset();
  core._inputHandler._utf8Decoder.clear();
  core._inputHandler._windowTitle = core._inputHandler._iconName = '';
  core.coreService.isCursorHidden = false;
  core.options.cursorBlink = core.options.convertEol = false;
  core.reset();
}

// dropRowsWithoutRoom mends a fault of xterm.js 6. If a narrower screen wraps more rows than the scrollback has room for, it
// stores those without room at negative places of its ring. They land on the newest rows, or nowhere, as the ring lies.
function dropRowsWithoutRoom(lines) {
  const prototype = Object.getPrototypeOf(lines), { set } = prototype;
  if (set.name === 'setWithRoom') return;
  prototype.set = function setWithRoom(index, line) { if (index >= 0) set.call(this, index, line); };
}

// eraseInTheLastRow mends another: erasing above, it throws if the cursor is in the last column and there is no row below.
function eraseInTheLastRow(handler) {
  const erase = handler.eraseInDisplay;
  handler.eraseInDisplay = function (...args) {
    const { lines } = core._bufferService.buffer, get = lines.get;
    lines.get = (index) => get.call(lines, index) ?? {};
    try { return erase.apply(this, args); } finally { delete lines.get; }
  };
}

function setColor({ type, index, color }) {
  if (type === 1) colors[index] = String(color);
  if (type === 2 && index === undefined) for (let i = 0; i < 256; i++) delete colors[i];
  else if (type === 2) delete colors[index];
}

// feed writes bytes, never splitting a character: xterm.js can lose one that is split. Where wraparound may be off, each
// character is a write of its own: what xterm.js does with half a wide character at the edge depends on what comes in one write.
function feed(bytes) {
  let edge = bytes.indexOf('\x1b[?7l');
  if (edge < 0) edge = bytes.length;
  for (let start = 0; start < bytes.length;) {
    let end = start < edge ? Math.min(start + 100000, edge) : start + 1;
    while (end < bytes.length && (bytes[end] & 0xc0) === 0x80) end++;
    core._inputHandler.parse(bytes.subarray(start, end));
    start = end;
  }
}

function run(steps, first) {
  let pending = first;
  for (const step of steps) {
    if (!Array.isArray(step)) {
      pending = Buffer.concat([pending, step]);
      continue;
    }
    feed(pending);
    pending = Buffer.alloc(0);
    core.buffers.normal.lines.get(0).isWrapped = false; // Nothing is before the oldest row.
    terminal.resize(step[1], step[0]);
  }
  feed(pending);
}

function color(value, mode) {
  if (mode === 0) return '';
  return mode === 0x3000000 ? '#' + (value & 0xffffff).toString(16) : String(value & 0xff);
}

// look says how a cell looks.
function look(fg, bg, extended) {
  let s = `${color(fg, fg & 0x3000000)}/${color(bg, bg & 0x3000000)}/${(fg >>> 26).toString(16)}/${((bg >>> 26) & ~4).toString(16)}`;
  if (bg & 0x10000000 && extended) {
    s += `u${extended._ext >>> 26 & 7},${color(extended._ext, extended._ext & 0x3000000)}`;
    if (extended.urlId) {
      const data = core._inputHandler._oscLinkService.getLinkData(extended.urlId);
      s += data ? `<${data.id ?? ''}|${data.uri}>` : '<>';
    }
  } else if (fg & 0x10000000) {
    s += 'u1,'; // what is shown without the flag
  }
  return s;
}

const cell = { content: 0, fg: 0, bg: 0, extended: undefined, combinedData: '' };

function line(l) {
  let text = '', looks = '', last = '', nulls = '';
  for (let x = 0; x < l.length; x++) {
    l.loadCell(x, cell);
    const width = cell.content >>> 22, content = cell.content & 0x3fffff;
    nulls += content ? width : width === 0 ? 't' : '.';
    const s = look(cell.fg, cell.bg, cell.extended);
    if (s !== last) { looks += ` ${x}:${s}`; last = s; }
    if (width === 0 && !content) continue;
    text += content ? l.getString(x) : ' ';
  }
  return [text.replace(/ +$/, ''), looks, nulls.replace(/\.+$/, '') + (l.isWrapped ? 'W' : '')];
}

function rows(buffer, from, to) {
  const all = [[], [], []];
  for (let y = from; y < to; y++) line(buffer.lines.get(y)).forEach((s, i) => all[i].push(s));
  return all.map((a) => a.join('\n'));
}

// show says what a terminal shows. What comes first counts most.
function show() {
  const set = core._bufferService.buffers, b = set.active, n = set.normal;
  let [text, looks, cells] = rows(b, b.ybase, b.ybase + terminal.rows);
  const alt = b === set.alt;
  const back = rows(n, 0, alt ? n.ybase + terminal.rows : n.ybase);
  // Nothing is before the oldest row, so it does not matter what that continues.
  back[2] = back[2].replace(/^([^\n]*)W/, '$1');
  if (b.ybase === 0) cells = cells.replace(/^([^\n]*)W/, '$1');
  const c = core.coreService, h = core._inputHandler, pen = h._curAttrData;
  return {
    rows: text,
    alt: String(alt),
    cursor: `${Math.min(b.x, terminal.cols)},${b.y}`,
    looks,
    scrollback: back[0],
    scrollbackLooks: back[1],
    modes: JSON.stringify([terminal.modes, c.isCursorHidden, core.options.cursorBlink, core.options.convertEol, c.decPrivateModes.cursorStyle, c.decPrivateModes.cursorBlink, core.coreMouseService.activeProtocol, core.coreMouseService.activeEncoding]),
    title: h._windowTitle + '|' + h._iconName,
    colors: JSON.stringify(colors),
    cells,
    scrollbackCells: back[2],
    pen: look(pen.fg, pen.bg, pen.extended),
    margins: `${b.scrollTop},${b.scrollBottom}`,
    tabs: Object.keys(b.tabs).filter((x) => x < terminal.cols).join(),
    saved: `${Math.min(b.savedX, terminal.cols - 1)},${Math.max(0, Math.min(b.savedY - b.ybase, terminal.rows - 1))} ${look(b.savedCurAttrData.fg, b.savedCurAttrData.bg)}`,
    parser: String(h._parser.currentState),
  };
}

// A link that xterm.js has lost the target of is a link.
function same(key, want, got) {
  if (want === got) return true;
  if (!want.includes('<>') && !got.includes('<>')) return false;
  const bare = (s) => s.replace(/<[^>]*>/g, '<>');
  return bare(want).replace(/ \d+:\S+<>/g, '') === bare(got).replace(/ \d+:\S+<>/g, '');
}

function judge({ rows, cols, scrollback, steps, cases }) {
  steps = steps.map((s) => (Array.isArray(s) ? s : Buffer.from(s, 'base64')));
  fresh(rows, cols, scrollback);
  run(steps, Buffer.alloc(0));
  const want = show(), answer = { differences: [], replies };
  cases.forEach((c, i) => {
    fresh(c.rows, c.cols, scrollback);
    const rest = steps.slice(c.step);
    if (rest.length && !Array.isArray(rest[0])) rest[0] = rest[0].subarray(c.offset);
    run(rest, Buffer.from(c.snapshot, 'base64'));
    const got = show();
    const key = Object.keys(want).find((k) => !same(k, want[k], got[k]));
    if (key) answer.differences.push({ case: i, key, want: want[key], got: got[key] });
  });
  return answer;
}

function widths([first, last]) {
  fresh(24, 80, 100);
  let s = '';
  for (let c = first; c <= last; c++) s += core.unicodeService.wcwidth(c);
  return { widths: s };
}

readline.createInterface({ input: process.stdin, crlfDelay: Infinity }).on('line', (l) => {
  const request = JSON.parse(l);
  let answer;
  try {
    answer = request.widths ? widths(request.widths) : judge(request);
  } catch (e) {
    terminal = undefined;
    answer = { error: String(e.stack) };
  }
  process.stdout.write(JSON.stringify(answer) + '\n');
});
