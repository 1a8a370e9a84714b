/** The size of a terminal, in cells. */
export interface Size {
  readonly rows: number;
  readonly cols: number;
}

/** How many lines a terminal keeps after they have scrolled off. */
export const SCROLLBACK = 10_000;

/** Returns xterm.js's options for the font of a terminal in an element. */
export function fontOf(parent: HTMLElement): { fontFamily: string; fontSize: number; lineHeight: number } {
  return {
    fontFamily: getComputedStyle(parent).getPropertyValue("--mono"),
    fontSize: matchMedia("(pointer: coarse)").matches ? 13 : 14,
    lineHeight: 1.15,
  };
}

/** The width that xterm.js's fit addon leaves for the scroll bar, in pixels. */
const SCROLLBAR = 14;

/**
 * Returns the size that a terminal in an element will have, before xterm.js has arrived. It measures like xterm.js. If the size
 * is wrong, the shell gets the right one later.
 */
export function expectedSize(parent: HTMLElement): Size {
  const { fontFamily, fontSize, lineHeight } = fontOf(parent);
  const context = new OffscreenCanvas(1, 1).getContext("2d")!;
  context.font = `${fontSize}px ${fontFamily}`;
  const { width, fontBoundingBoxAscent, fontBoundingBoxDescent } = context.measureText("W");
  const height = Math.floor(Math.ceil((fontBoundingBoxAscent + fontBoundingBoxDescent) * devicePixelRatio) * lineHeight);
  const cells = (length: number, each: number) => Math.max(2, Math.floor(length / each) || 0);
  return {
    rows: cells(parent.clientHeight, height / devicePixelRatio),
    cols: cells(parent.clientWidth - SCROLLBAR, width),
  };
}
