import { sessionID, takeToken } from "./address.js";
import { expectedSize } from "./cells.js";
import { find } from "./dom.js";
import { Server } from "./server.js";
import { Session } from "./session.js";

// xterm.js takes longer to arrive than the server takes to start a shell. So the shell is started first.

export const server: Server = new Server();
const token = globalThis.early?.addressed ?? takeToken();
if (token !== undefined) server.token = token;

/** The session that the address names. */
export const firstSession: Session = new Session(server, sessionID(), expectedSize(find("#terminal")));

// No top-level await: app.js imports this file, and would wait for it.
import("./app.js").then(
  ({ App }) => new App(),
  (error: unknown) => {
    find("#notice").hidden = false;
    find("#notice p").textContent = "A part of this page did not arrive. Reload it.";
    throw error;
  },
);
