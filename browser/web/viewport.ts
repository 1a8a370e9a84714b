/** Keeps the page above a phone's keyboard, which covers pages that know nothing of it. */
export function followViewport(): void {
  const viewport = window.visualViewport;
  if (!viewport) return;
  const follow = (): void => {
    if (viewport.scale !== 1) return; // The user looks at something closely.
    document.documentElement.style.setProperty("--height", `${viewport.height}px`);
    window.scrollTo(0, 0);
  };
  viewport.addEventListener("resize", follow);
  viewport.addEventListener("scroll", follow);
  follow();
}
