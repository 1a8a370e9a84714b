/** How long a title may be, in UTF-16 code units. A program may set a title of megabytes. */
const MAX_TITLE = 200;

/** Cuts a title that is too long. It does not cut within a character. */
export function shortTitle(title: string): string {
  if (title.length <= MAX_TITLE) return title;
  return title.slice(0, MAX_TITLE - 1).replace(/[\uD800-\uDBFF]$/, "") + "…";
}
