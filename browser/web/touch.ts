import type { Terminal } from "@xterm/xterm";

/** How fast a flick slows down: the share of its speed that it loses in a millisecond. */
const FRICTION = 0.004;

/** The speed at which a flick stops, in pixels per millisecond. */
const STILL = 0.02;

/** How long a finger may rest at the end of a flick, in milliseconds. */
const REST = 50;

interface Finger {
  readonly id: number;
  readonly x: number;
  readonly y: number;
  readonly at: number;
  readonly speed: number;
}

/** Scrolls a terminal by touch. xterm.js 6 does not do that. */
export class TouchScroll {
  readonly #terminal: Terminal;
  #finger: Finger | undefined;
  /** How far the finger has moved beyond whole lines, in pixels. */
  #rest = 0;

  constructor(terminal: Terminal, element: HTMLElement) {
    this.#terminal = terminal;
    element.addEventListener("pointerdown", (event) => this.#touch(event));
    element.addEventListener("pointermove", (event) => this.#move(event));
    element.addEventListener("pointerup", (event) => this.#lift(event));
    element.addEventListener("pointercancel", () => (this.#finger = undefined));
  }

  #touch({ pointerType, isPrimary, pointerId, clientX, clientY, timeStamp }: PointerEvent): void {
    if (pointerType !== "touch" || !isPrimary) return;
    this.#rest = 0;
    this.#finger = { id: pointerId, x: clientX, y: clientY, at: timeStamp, speed: 0 };
  }

  #move({ pointerId, clientX, clientY, timeStamp }: PointerEvent): void {
    const last = this.#finger;
    if (!last || pointerId !== last.id || clientY === last.y) return;
    const moved = last.y - clientY;
    this.#finger = { id: pointerId, x: clientX, y: clientY, at: timeStamp, speed: moved / Math.max(1, timeStamp - last.at) };
    this.#scroll(moved, this.#finger);
  }

  #lift({ pointerId, timeStamp }: PointerEvent): void {
    const last = this.#finger;
    if (!last || pointerId !== last.id) return;
    this.#finger = undefined;
    if (timeStamp - last.at < REST) this.#coast(last, last.speed, performance.now());
  }

  /** Scrolls on after a flick, until it has slowed down or a finger stops it. */
  #coast(from: Finger, speed: number, last: number): void {
    requestAnimationFrame((now) => {
      if (this.#finger || Math.abs(speed) < STILL) return;
      this.#scroll(speed * (now - last), from);
      this.#coast(from, speed * Math.exp(-FRICTION * (now - last)), now);
    });
  }

  #scroll(pixels: number, at: Finger): void {
    const { modes, buffer } = this.#terminal;
    if (modes.mouseTrackingMode !== "none" || buffer.active.type === "alternate") this.#turnWheel(pixels, at);
    else this.#scrollLines(pixels);
  }

  #scrollLines(pixels: number): void {
    const screen = this.#terminal.element?.querySelector(".xterm-screen");
    const height = (screen?.clientHeight || 1) / this.#terminal.rows;
    this.#rest += pixels;
    const lines = Math.trunc(this.#rest / height);
    this.#rest -= lines * height;
    this.#terminal.scrollLines(lines);
  }

  /** Turns the wheel instead, for a program that uses the whole screen or the mouse. It scrolls by itself. */
  #turnWheel(deltaY: number, { x, y }: Finger): void {
    const wheel = new WheelEvent("wheel", { deltaY, clientX: x, clientY: y, bubbles: true, cancelable: true });
    this.#terminal.element?.querySelector(".xterm-screen")?.dispatchEvent(wheel);
  }
}
