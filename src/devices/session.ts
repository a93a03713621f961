import type { Client } from 'ssh2'
import { type HostKeys, type Login, openConnection } from './connection.ts'
import { type Driver, maskSecrets } from './drivers/driver.ts'
import { DeviceFailure, type FailureReason } from './failure.ts'
import { openShell } from './shell.ts'
import { createTranscript } from './transcript.ts'

/** A device to talk to, with what it takes to log in. */
export interface Target {
  id: string
  name: string
  address: string
  port: number
  driver: Driver
  login: Login
}

export interface Answer {
  text: string
  /** The exit status, where commands are programs. */
  status: number | undefined
}

/** One conversation with one device, from log-in to log-out. */
export interface Session {
  /** @throws DeviceFailure */
  run(command: string, timeoutMs: number): Promise<Answer>
  /** What was said so far: bounded, without passwords, known secrets hidden. */
  transcript(): string
  fail(reason: FailureReason, message: string): DeviceFailure
  /** Logs out and lets go of the connection; within half a second. */
  close(): Promise<void>
}

/** Milliseconds and characters after which a device is not waited for any longer. */
export interface SessionLimits {
  /** Until the TCP connection stands. */
  connectMs: number
  /** Until logged in. */
  handshakeMs: number
  /** Silence after a prompt that makes it the end of an answer. */
  quietMs: number
  /** Silence in the middle of an answer. */
  silenceMs: number
  /** The whole session. */
  sessionMs: number
  answerCharacters: number
}

const defaultLimits: SessionLimits = {
  connectMs: 10_000,
  handshakeMs: 20_000,
  quietMs: 150,
  silenceMs: 30_000,
  sessionMs: 300_000,
  answerCharacters: 64 * 1024 * 1024,
}

const goodbyeMs = 400

/** How sessions are opened; a component that needs one takes this as a dependency. */
export type OpenSession = (target: Target, signal: AbortSignal) => Promise<Session>

/** What opens sessions over SSH. Each `open` throws a DeviceFailure that says why it could not. */
export function createSessions(
  deps: { hostKeys: HostKeys },
  config: Partial<SessionLimits> = {},
): { open: OpenSession } {
  const limits = { ...defaultLimits, ...config }
  return { open: (target, signal) => openSession(deps.hostKeys, limits, target, signal) }
}

async function openSession(
  hostKeys: HostKeys,
  limits: SessionLimits,
  target: Target,
  outer: AbortSignal,
): Promise<Session> {
  const { login, driver } = target
  const transcript = createTranscript([login.password ?? '', login.enablePassword ?? ''])
  const evidence = () => maskSecrets(driver, transcript.text())
  const abort = new AbortController()
  let overdue = false
  const deadline = setTimeout(() => {
    overdue = true
    abort.abort()
  }, limits.sessionMs)
  const forward = () => abort.abort()
  outer.addEventListener('abort', forward, { once: true })
  if (outer.aborted) abort.abort()

  let client: Client | undefined
  const lost = Promise.withResolvers<never>()
  lost.promise.catch(() => {})
  abort.signal.addEventListener('abort', () => {
    client?.destroy()
    lost.reject(fail('aborted', 'the session was ended'))
  })

  try {
    client = await openConnection({ ...limits, hostKeys, signal: abort.signal, note, fail }, target)
    client.on('error', (error: Error) => {
      note(error.message)
      lost.reject(fail('incomplete', `the connection broke: ${error.message}`))
    })
    const connected = client
    const run = await Promise.race([openChannel(connected), lost.promise])
    return { ...run, transcript: evidence, fail, close: () => close(connected, run.leave) }
  } catch (error) {
    release()
    client?.destroy()
    throw error
  }

  async function openChannel(connected: Client) {
    if (driver.channel === 'exec') {
      return {
        run: (command: string, timeoutMs: number) => guard(exec(connected, command, timeoutMs)),
        leave: () => {},
      }
    }
    const { columns, rows } = driver.shell.terminal
    const channel = await new Promise<Parameters<typeof openShell>[1]>((resolve, reject) => {
      connected.shell({ term: 'vt100', cols: columns, rows }, (error, stream) =>
        error ? reject(fail('rejected', `no command line: ${error.message}`)) : resolve(stream),
      )
    })
    const shell = await openShell({ ...limits, transcript, fail }, channel, driver, login)
    return {
      run: (command: string, timeoutMs: number) =>
        guard(shell.run(command, timeoutMs).then(text => ({ text, status: undefined }))),
      leave: shell.leave,
    }
  }

  function exec(connected: Client, command: string, timeoutMs: number): Promise<Answer> {
    const chunks: Buffer[] = []
    let length = 0
    let status: number | undefined
    let timer: NodeJS.Timeout | undefined
    transcript.sent(command)
    return new Promise<Answer>((resolve, reject) => {
      timer = setTimeout(
        () => reject(fail('timeout', `no whole answer within ${timeoutMs / 1000} s`)),
        timeoutMs,
      )
      connected.exec(command, { env: { LC_ALL: 'C' } }, (error, channel) => {
        if (error) return reject(fail('rejected', `cannot run "${command}": ${error.message}`))
        let silence = setTimeout(onSilence, limits.silenceMs)
        function onSilence() {
          reject(fail('timeout', `no byte for ${limits.silenceMs / 1000} s`))
        }
        channel.on('data', (chunk: Buffer) => {
          clearTimeout(silence)
          silence = setTimeout(onSilence, limits.silenceMs)
          transcript.received(chunk.toString('latin1'))
          chunks.push(chunk)
          length += chunk.length
          if (length > limits.answerCharacters) {
            channel.close()
            reject(fail('rejected', `more than ${limits.answerCharacters} bytes in one answer`))
          }
        })
        channel.stderr.on('data', (chunk: Buffer) => transcript.received(chunk.toString('latin1')))
        channel.on('exit', (code: number | null) => {
          status = code ?? undefined
        })
        channel.on('close', () => {
          clearTimeout(silence)
          if (status === undefined) {
            reject(fail('incomplete', 'the connection ended in the middle of the answer'))
          } else resolve({ text: Buffer.concat(chunks).toString('utf8'), status })
        })
      })
    }).finally(() => clearTimeout(timer))
  }

  /** Whatever ends the session ends the wait for an answer, too. */
  function guard<T>(answer: Promise<T>): Promise<T> {
    return Promise.race([answer, lost.promise])
  }

  async function close(connected: Client, leave: () => void): Promise<void> {
    release()
    const gone = new Promise<void>(resolve => connected.once('close', () => resolve()))
    leave()
    connected.end()
    const timer = setTimeout(() => connected.destroy(), goodbyeMs)
    await Promise.race([gone, new Promise(resolve => setTimeout(resolve, goodbyeMs + 100))])
    clearTimeout(timer)
  }

  function release() {
    clearTimeout(deadline)
    outer.removeEventListener('abort', forward)
  }

  function note(text: string) {
    transcript.noted(text)
  }

  function fail(reason: FailureReason, message: string): DeviceFailure {
    return overdue
      ? new DeviceFailure(
          'timeout',
          `the session took over ${limits.sessionMs / 1000} s`,
          evidence(),
        )
      : new DeviceFailure(reason, message, evidence())
  }
}
