export { connect } from "./client.js";
export type { Client, ConnectOptions, SpawnOptions } from "./client.js";
export { DisconnectedError, EndedError, OutcomeError, StartError } from "./errors.js";
export type { Kind } from "./errors.js";
export type { Exit, Process, State } from "./process.js";
export type { Socket, SocketConstructor } from "./socket.js";
