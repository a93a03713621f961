/** A real mail server of Debian as a process, and what it has taken. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const python = '/usr/bin/python3'
const program = fileURLToPath(new URL('./smtp-server.py', import.meta.url))

/** Whether this machine has it: the Debian package python3-aiosmtpd. */
export const hasSmtpServer = existsSync('/usr/bin/aiosmtpd') && existsSync(python)

export interface Taken {
  /** Message-ID. */
  id: string
  to: string[]
  mailFrom: string
  headers: Record<string, string>
  /** Contents by type. */
  parts: Record<string, string>
  tls: boolean
  /** Who had logged in. */
  user: string | null
}

export interface SmtpServer {
  port: number
  taken: Taken[]
  /** The same port, with all that it takes added to the same list. */
  restart(): Promise<void>
  kill(): Promise<void>
}

export interface SmtpSettings {
  /** Files, PEM. */
  certificate?: string
  key?: string
  implicitTls?: boolean
  user?: string
  password?: string
}

export async function startSmtpServer(settings: SmtpSettings = {}): Promise<SmtpServer> {
  const taken: Taken[] = []
  let child: ChildProcess | undefined

  async function start(port: number): Promise<number> {
    const started = spawn(python, ['-I', program, JSON.stringify({ ...settings, port })], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child = started
    const listening = Promise.withResolvers<number>()
    let said = ''
    started.stderr!.on('data', data => {
      said = `${said}${data}`.slice(-2000)
    })
    started.once('exit', code => {
      listening.reject(new Error(`the mail server ended with ${code}: ${said}`))
    })
    createInterface(started.stdout!).on('line', line => {
      const news = JSON.parse(line) as { listening: number } | { took: Taken }
      if ('listening' in news) listening.resolve(news.listening)
      else taken.push(news.took)
    })
    return listening.promise
  }

  async function kill() {
    const ending = child
    child = undefined
    if (ending === undefined || ending.exitCode !== null || ending.signalCode !== null) return
    const ended = once(ending, 'exit')
    ending.kill('SIGKILL')
    await ended
  }

  const port = await start(0)
  return {
    port,
    taken,
    kill,
    async restart() {
      await kill()
      await start(port)
    },
  }
}
