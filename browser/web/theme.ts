import type { ITheme } from "@xterm/xterm";

const dark: ITheme = {
  background: "#15171c",
  foreground: "#d9dce3",
  cursor: "#5fd3b0",
  cursorAccent: "#15171c",
  selectionBackground: "#3b5b78",
  selectionInactiveBackground: "#3b5b78",
  scrollbarSliderBackground: "#ffffff22",
  scrollbarSliderHoverBackground: "#ffffff3a",
  scrollbarSliderActiveBackground: "#ffffff55",
  black: "#2a2e37",
  red: "#f0736f",
  green: "#7fc97a",
  yellow: "#e0b458",
  blue: "#6fa8f5",
  magenta: "#c792ea",
  cyan: "#58c4c4",
  white: "#c8ccd4",
  brightBlack: "#7b8494",
  brightRed: "#ff9a94",
  brightGreen: "#a3e29c",
  brightYellow: "#f4d183",
  brightBlue: "#9cc5ff",
  brightMagenta: "#e0b5ff",
  brightCyan: "#86e3e0",
  brightWhite: "#ffffff",
};

const light: ITheme = {
  background: "#fdfcfa",
  foreground: "#24272d",
  cursor: "#1f6f5c",
  cursorAccent: "#fdfcfa",
  selectionBackground: "#bcd9f2",
  selectionInactiveBackground: "#bcd9f2",
  scrollbarSliderBackground: "#00000022",
  scrollbarSliderHoverBackground: "#0000003a",
  scrollbarSliderActiveBackground: "#00000055",
  black: "#24272d",
  red: "#b3261e",
  green: "#27702c",
  yellow: "#8a5a00",
  blue: "#1d5fb8",
  magenta: "#8a35a3",
  cyan: "#0f6f73",
  white: "#6c7280",
  brightBlack: "#5d6470",
  brightRed: "#d0342b",
  brightGreen: "#2f8536",
  brightYellow: "#a36a00",
  brightBlue: "#2c74d6",
  brightMagenta: "#a14bbb",
  brightCyan: "#14858a",
  brightWhite: "#3c414a",
};

const prefersDark = matchMedia("(prefers-color-scheme: dark)");

/** Returns the theme for the system's color scheme. */
export function theme(): ITheme {
  return prefersDark.matches ? dark : light;
}

/** Calls changed when the system's color scheme changes. */
export function onThemeChange(changed: (theme: ITheme) => void): void {
  prefersDark.addEventListener("change", () => changed(theme()));
}
