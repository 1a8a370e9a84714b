export { connect } from "./client.js";
export type { Client, ConnectOptions } from "./client.js";
export type { SpawnOptions } from "./command.js";
export { DisconnectedError, EndedError, OutcomeError, RunError, StartError } from "./errors.js";
export type { DisconnectedOptions, Kind, Loss } from "./errors.js";
export type { Chunk, Exit, Finished, Process, State } from "./process.js";
export type { Result, RunOptions, Written } from "./run.js";
export type { Socket, SocketConstructor } from "./socket.js";
export type { TokenSource } from "./token.js";
