// This script is part of index.html. So it runs before any other script has arrived.

import { offer } from "../src/token.js";
import { takeToken } from "./address.js";
import { ask } from "./ask.js";
import { ABOUT } from "./early.js";
import type { Early } from "./early.js";
import { keptToken } from "./tokens.js";

// Without a slash at its end, the page's relative addresses lead to the folder above. Not every proxy adds the slash.
if (location.pathname.endsWith("/")) globalThis.early = begin();
else location.replace(`${location.pathname}/${location.search}${location.hash}`);

function begin(): Early {
  const addressed = takeToken();
  const token = addressed ?? keptToken();
  const about = ask("GET", ABOUT, token);
  about.catch(() => {}); // The code that takes the answer handles its error.
  const url = new URL(".", document.baseURI);
  url.protocol = url.protocol.replace("http", "ws");
  const offered = offer([], token);
  const socket = new WebSocket(url, offered);
  return { addressed, token, about, offered: String(offered), socket, begun: performance.now() };
}
