/** The API on a socket in the file system: who may open it is an administrator, without a token. */
import { closeSync, constants, mkdirSync, openSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { hostname, userInfo } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { Component } from '../lib/component.ts'
import type { Caller } from './handler.ts'
import type { HttpServer } from './http.ts'

/** Name of the socket in a server's data folder. */
export const controlSocket = 'control.sock'
/** Header: who the caller is on his machine, for the audit log. */
export const controlUser = 'keepwatch-user'

/** What the kernel takes as the path of a socket (`sun_path`), less the NUL. */
const longestPath = 107
const probeMs = 1000
const maxConnections = 50
const userName = /^[\w][\w.@-]{0,63}$/

/**
 * Listens on `<path>`, which only its owner and root can open: mode 0600, in a folder that is made
 * with 0700. Requests of local callers that only the active can answer are sent on to it.
 */
export function createControl(
  deps: { answer: HttpServer['answer'] },
  config: {
    path: string
    /** Of this machine, for the audit log. */
    host?: string
  },
): Component {
  const { path, host = hostname() } = config
  let server: Server | undefined
  let folder: number | undefined

  function take(request: IncomingMessage, response: ServerResponse) {
    const said = request.headers[controlUser]
    const user = typeof said === 'string' && userName.test(said) ? said : userInfo().username
    deps.answer(request, response, {
      caller: localCaller(user.includes('@') ? user : `${user}@${host}`),
      forwarded: false,
    })
  }

  return {
    async start() {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
      folder = openFolder(path)
      const reached = socketPath(path, folder)
      if (await answers(reached)) {
        throw new Error(
          `another server answers at ${path}: two servers must not share a data folder`,
        )
      }
      rmSync(path, { force: true })
      const opened = createServer({ requestTimeout: 30_000, headersTimeout: 15_000 }, take)
      opened.maxConnections = maxConnections
      server = opened
      const listening = Promise.withResolvers<void>()
      opened.once('error', listening.reject)
      // Born with its mode: there is no moment in which others could open it.
      const before = process.umask(0o177)
      try {
        opened.listen(reached, listening.resolve)
      } finally {
        process.umask(before)
      }
      await listening.promise
    },

    async stop() {
      const closing = server
      server = undefined
      if (closing?.listening) {
        const closed = new Promise<void>(resolve => closing.close(() => resolve()))
        closing.closeAllConnections()
        await closed
      }
      if (folder !== undefined) closeSync(folder)
      folder = undefined
    },
  }
}

/** Whoever can open the socket could read the database's password and the keys too. */
export function localCaller(name: string): Caller {
  return { name, role: 'administrator', via: 'local', mustChangePassword: false, expires: null }
}

/** Calls `use` with a path under which the socket can be reached, however long its own is. */
export async function withSocket<T>(path: string, use: (reached: string) => Promise<T>) {
  const folder = openFolder(path)
  try {
    return await use(socketPath(path, folder))
  } finally {
    if (folder !== undefined) closeSync(folder)
  }
}

/** Needed only where the path is too long for the kernel: a short one leads through the folder. */
function openFolder(path: string): number | undefined {
  if (Buffer.byteLength(path) <= longestPath) return undefined
  return openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY)
}

function socketPath(path: string, folder: number | undefined): string {
  return folder === undefined ? path : join(`/proc/self/fd/${folder}`, basename(path))
}

function answers(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(path)
    const done = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    // A process that is stopped does not accept, and is there all the same.
    socket.setTimeout(probeMs, () => done(true))
    socket.once('connect', () => done(true))
    socket.once('error', () => done(false))
  })
}
