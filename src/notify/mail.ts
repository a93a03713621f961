/** Mail by SMTP (RFC 5321): one connection, kept while there is more to send. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { Readable } from 'node:stream'
import { rootCertificates } from 'node:tls'
import MailComposer from 'nodemailer/lib/mail-composer'
import SMTPConnection from 'nodemailer/lib/smtp-connection'
import { type Delivery, identityOf, type MayEnd } from './channel.ts'
import type { ClaimedNotice } from './outbox.ts'
import { toHtml, toText } from './render.ts'

/** How to reach the mail server, as a person has set it. */
export interface MailSettings {
  host: string
  port: number
  /** `starttls` demands it; `opportunistic` uses it where it is offered. */
  security: 'none' | 'opportunistic' | 'starttls' | 'tls'
  from: string
  user?: string | undefined
  password?: string | undefined
}

export interface MailConfig {
  connectMs: number
  /** For everything up to the end of one mail. */
  sendMs: number
  /** For the answer to its end: a server may already have it, so patience saves a second copy. */
  endMs: number
  /** A connection that is not used for so long is closed. */
  idleMs: number
  /** Authorities beside those that Node knows, PEM. */
  ca?: string | undefined
}

/** RFC 5321 § 4.5.3.2.6: ten minutes for the answer to the end of the data. */
export const defaultMailConfig: MailConfig = {
  connectMs: 15_000,
  sendMs: 60_000,
  endMs: 600_000,
  idleMs: 10_000,
}

export interface Mailer {
  send(settings: MailSettings, notice: ClaimedNotice, mayEnd: MayEnd): Promise<Delivery>
  /** Drops the connection and whatever is under way on it. */
  close(): void
}

interface SmtpError extends Error {
  command?: string
  responseCode?: number | undefined
}

interface Line {
  connection: SMTPConnection
  /** What it was opened with. */
  settings: string
  /** Rejects when the connection is no more. */
  gone: Promise<never>
  open: boolean
}

export function createMailer(config: MailConfig): Mailer {
  let line: Line | undefined
  let idle: NodeJS.Timeout | undefined
  let abandon: (() => void) | undefined

  function hangUp() {
    clearTimeout(idle)
    line?.connection.close()
    line = undefined
  }

  async function open(settings: MailSettings, late: Promise<never>): Promise<Line> {
    const wanted = JSON.stringify(settings)
    if (line?.open && line.settings === wanted) return line
    hangUp()
    const socket = await reach(settings, config.connectMs, late)
    const connection = new SMTPConnection({ ...optionsOf(settings, config), connection: socket })
    const gone = Promise.withResolvers<never>()
    gone.promise.catch(() => {})
    const opened: Line = { connection, settings: wanted, gone: gone.promise, open: true }
    line = opened
    const end = (error: Error) => {
      opened.open = false
      gone.reject(error)
    }
    connection.on('error', end)
    connection.on('end', () => end(new Error('the connection was closed')))
    const within = <T>(step: Promise<T>) => Promise.race([step, opened.gone, late])
    await within(called(done => connection.connect(done)))
    const { user, password, security } = settings
    if (user !== undefined) {
      if (!connection.secure && security !== 'none') {
        throw new Error('the server offers no encryption, so the password was not sent')
      }
      await within(called(done => connection.login({ user, pass: password ?? '' }, done)))
    }
    return opened
  }

  async function send(settings: MailSettings, notice: ClaimedNotice, mayEnd: MayEnd) {
    clearTimeout(idle)
    const late = Promise.withResolvers<never>()
    late.promise.catch(() => {})
    const lateAfter = (ms: number, what: string) =>
      setTimeout(() => late.reject(new Error(`${what} within ${ms / 1000} s`)), ms)
    let timer = lateAfter(config.sendMs, 'it did not take the message')
    abandon = () => late.reject(new Error('it was asked to stop'))
    let ended = false
    let withheld = false
    let over = false

    async function* content() {
      yield await compose(settings, notice)
      if (over) return
      if (!(await mayEnd())) withheld = true
      if (withheld || over) throw new Error('withheld')
      clearTimeout(timer)
      timer = lateAfter(config.endMs, 'no answer to the end of the message')
      ended = true
    }

    try {
      const { connection, gone } = await open(settings, late.promise)
      const message = Readable.from(content(), { objectMode: false })
      const envelope = { from: settings.from, to: notice.recipient }
      await Promise.race([
        called(done => connection.send(envelope, message, done)),
        gone,
        late.promise,
      ])
      over = true
      idle = setTimeout(leave, config.idleMs)
      return { done: 'sent' } as const
    } catch (error) {
      over = true
      hangUp()
      return withheld ? ({ done: 'withheld' } as const) : judge(error as SmtpError, ended)
    } finally {
      clearTimeout(timer)
      abandon = undefined
    }
  }

  /** Politely: the server is told. */
  function leave() {
    const leaving = line
    line = undefined
    if (leaving === undefined) return
    leaving.connection.quit()
    idle = setTimeout(() => leaving.connection.close(), config.connectMs)
  }

  return {
    send,
    close() {
      abandon?.()
      hangUp()
    },
  }
}

/**
 * A name is looked up as everything on the machine does it, `/etc/hosts` included: the name servers
 * may be what is gone.
 */
async function reach(
  { host, port }: MailSettings,
  withinMs: number,
  late: Promise<never>,
): Promise<Socket> {
  const socket = connect({ host, port })
  const timeout = AbortSignal.timeout(withinMs)
  try {
    await Promise.race([once(socket, 'connect', { signal: timeout }), late])
    return socket
  } catch (error) {
    socket.on('error', () => {})
    socket.destroy()
    if (!timeout.aborted) throw error
    throw new Error(`no connection to ${host}:${port} within ${withinMs / 1000} s`)
  }
}

function optionsOf(settings: MailSettings, config: MailConfig) {
  const { host, port, security, user } = settings
  return {
    host,
    port,
    secure: security === 'tls',
    requireTLS: security === 'starttls',
    opportunisticTLS: security === 'opportunistic',
    ignoreTLS: security === 'none',
    greetingTimeout: config.sendMs,
    socketTimeout: config.endMs + config.sendMs,
    // What is dropped must not linger: the end could still be on its way.
    socketCloseTimeout: 0,
    tls: {
      // Encryption that nobody asked for needs no proof; a password goes to nobody unproven.
      rejectUnauthorized: security !== 'opportunistic' || user !== undefined,
      ...(config.ca === undefined ? {} : { ca: [...rootCertificates, config.ca] }),
    },
  }
}

function compose(settings: MailSettings, notice: ClaimedNotice): Promise<Buffer> {
  const { body, created, recipient } = notice
  const domain = settings.from.split('@').at(-1)
  const composer = new MailComposer({
    from: { name: 'Keepwatch', address: settings.from },
    to: { name: '', address: recipient },
    subject: body.message.subject,
    text: toText(body.message),
    html: toHtml(body.message),
    messageId: `<${identityOf(notice)}@${domain}>`,
    references: `<${identityOf({ key: body.thread, created: new Date(0) })}@${domain}>`,
    date: created,
    headers: {
      // RFC 3834: no automatic answers, please.
      'Auto-Submitted': 'auto-generated',
      'Keepwatch-Class': notice.class,
    },
    newline: 'win',
    disableFileAccess: true,
    disableUrlAccess: true,
  })
  return composer.compile().build()
}

function judge(error: SmtpError, ended: boolean): Delivery {
  const { command, responseCode } = error
  const failure = error.message
  if (responseCode === undefined || !responseCode) {
    return ended ? { done: 'doubtful', failure } : { done: 'later', failure, of: 'channel' }
  }
  const ofMessage = command === 'RCPT TO' || command === 'DATA'
  if (!ofMessage || responseCode === 421) return { done: 'later', failure, of: 'channel' }
  return responseCode >= 500
    ? { done: 'refused', failure }
    : { done: 'later', failure, of: 'message' }
}

/** A call that ends in a callback, as a promise. */
function called<T>(call: (done: (error: Error | null | undefined, result?: T) => void) => void) {
  return new Promise<T | undefined>((resolve, reject) => {
    call((error, result) => (error ? reject(error) : resolve(result)))
  })
}
