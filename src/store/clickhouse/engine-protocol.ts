/** What the engine's process and its parent say to each other over IPC. */

export type EngineOrder =
  | {
      type: 'open'
      dataDir: string
      sessions: number
      queue: number
      maxMemoryBytes: number
      /** The port to serve on if it is free, 0 for any. */
      port: number
      username: string
      password: string
    }
  | { type: 'stop' }

export type EngineReport =
  | { type: 'ready'; port: number }
  | { type: 'load'; running: number; queued: number; memoryBytes: number }
