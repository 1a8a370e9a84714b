import { takeToken } from "./address.js";
import { find } from "./dom.js";
import { Server } from "./server.js";

// The rest of the page takes longer to arrive than answers of the server. So the server is asked first.
const server = new Server();
const token = takeToken();
if (token !== undefined) server.token = token;
server.begin();

try {
  const { App } = await import("./app.js");
  new App(server);
} catch (error) {
  find("#notice").hidden = false;
  find("#notice p").textContent = "A part of this page did not arrive. Reload it.";
  throw error;
}
