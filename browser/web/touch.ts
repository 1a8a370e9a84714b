import type { Terminal } from "@xterm/xterm";

/** How fast a flick slows down, and when it has ended, in pixels a millisecond. */
const FRICTION = 0.004;
const STILL = 0.02;

/**
 * Scrolls by touch, which xterm.js 6 does not. It is told of a wheel, so that a program that uses the mouse or the whole
 * screen scrolls too.
 */
export function scrollByTouch(terminal: Terminal, element: HTMLElement): void {
  let finger: { id: number; x: number; y: number; at: number; speed: number } | undefined;

  const wheel = (x: number, y: number, deltaY: number): void => {
    const screen = terminal.element?.querySelector(".xterm-screen");
    screen?.dispatchEvent(
      new WheelEvent("wheel", { deltaY, clientX: x, clientY: y, bubbles: true, cancelable: true }),
    );
  };

  const coast = (x: number, y: number, speed: number, last: number): void => {
    requestAnimationFrame((now) => {
      if (finger || Math.abs(speed) < STILL) return;
      wheel(x, y, speed * (now - last));
      coast(x, y, speed * Math.exp(-FRICTION * (now - last)), now);
    });
  };

  element.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "touch" || !event.isPrimary) return;
    finger = { id: event.pointerId, x: event.clientX, y: event.clientY, at: event.timeStamp, speed: 0 };
  });
  element.addEventListener("pointermove", (event) => {
    if (event.pointerId !== finger?.id) return;
    const moved = finger.y - event.clientY;
    if (moved === 0) return;
    const speed = moved / Math.max(1, event.timeStamp - finger.at);
    wheel(event.clientX, event.clientY, moved);
    finger = { ...finger, x: event.clientX, y: event.clientY, at: event.timeStamp, speed };
  });
  element.addEventListener("pointerup", (event) => {
    if (event.pointerId !== finger?.id) return;
    const { x, y, speed, at } = finger;
    finger = undefined;
    if (event.timeStamp - at < 50) coast(x, y, speed, performance.now());
  });
  element.addEventListener("pointercancel", () => (finger = undefined));
}
