/** How large a terminal is. */
export interface Size {
  readonly rows: number;
  readonly cols: number;
}

/** The font of a terminal in an element, as xterm.js takes it. */
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
 * Returns the size that a terminal in an element will have, before xterm.js is there to tell. It measures as that does. If it is
 * wrong the shell is told the right size later.
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
