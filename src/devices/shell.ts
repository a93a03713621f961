import type { ClientChannel } from 'ssh2'
import type { Login } from './connection.ts'
import type { Dialogue, ShellDriver } from './drivers/driver.ts'
import type { FailureReason } from './failure.ts'
import { cleanTerminal, lastLine } from './terminal.ts'
import type { Transcript } from './transcript.ts'

/** What a dialogue needs besides its channel. */
export interface ShellContext {
  transcript: Transcript
  /** A prompt followed by this much silence is the end of an answer, ms. */
  quietMs: number
  /** So long without a byte in the middle of an answer, ms. */
  silenceMs: number
  /** More characters than this in one answer are no answer. */
  answerCharacters: number
  fail(reason: FailureReason, message: string): Error
}

/** A command line of a device: logged in, privileged, pager off. */
export interface Shell {
  /** The answer between two prompts, without the echo of the command. */
  run(command: string, timeoutMs: number): Promise<string>
  /** Says goodbye; does not wait for an answer. */
  leave(): void
}

/** What an answer ended with. */
type Ending = { kind: 'prompt' | 'question'; raw: string }

const openingMs = 30_000
/** A device that shows nothing after log-in waits for the Enter key. */
const nudgeMs = 3_000
const promptTries = 4

/** Brings the command line into the state in which a command has one whole answer. */
export async function openShell(
  context: ShellContext,
  channel: ClientChannel,
  driver: ShellDriver,
  login: Login,
): Promise<Shell> {
  const { shell } = driver
  const { fail, transcript } = context
  const listener = listen(context, channel, [...shell.pager, ...shell.dialogues])
  const enter = (command: string, shown = command) => {
    transcript.sent(shown)
    channel.write(command + shell.lineEnd)
  }

  const learned = await learnPrompt()
  const prompt = learned.pattern
  if (!shell.prompt.privileged.test(learned.text)) await enable()
  for (const command of shell.setup) {
    const text = await run(command, openingMs)
    const refused = text.split('\n').find(line => driver.errors.some(error => error.test(line)))
    if (refused !== undefined) transcript.noted(`going on without "${command}"`)
  }
  return {
    run,
    leave() {
      for (const command of shell.teardown) enter(command)
    },
  }

  async function run(command: string, timeoutMs: number): Promise<string> {
    const answer = listener.next(prompt, timeoutMs)
    enter(command)
    const { raw } = await answer
    const lines = cleanTerminal(decode(raw)).split('\n')
    if (lines[0]?.trimEnd().endsWith(command)) lines.shift()
    lines.pop()
    return lines.join('\n')
  }

  /** The same line twice, of which the part that does not change with the mode is remembered. */
  async function learnPrompt(): Promise<{ text: string; pattern: RegExp }> {
    let seen = await listener.next(shell.prompt.any, openingMs, {
      nudge: () => channel.write(shell.lineEnd),
    })
    for (let tries = 0; tries < promptTries; tries++) {
      const before = lastLine(seen.raw).trim()
      const answer = listener.next(shell.prompt.any, openingMs)
      channel.write(shell.lineEnd)
      seen = await answer
      const text = lastLine(seen.raw).trim()
      const stem = shell.prompt.stem.exec(text)?.[0].slice(0, shell.prompt.stemMax)
      if (text === before && stem) {
        return {
          text,
          pattern: new RegExp(`^[*~\\s]*${literally(stem)}.{0,120}[>#$%\\]]\\s?$`),
        }
      }
    }
    throw fail('incomplete', 'the prompt is another one each time')
  }

  async function enable(): Promise<void> {
    const how = shell.enable
    if (!how) throw fail('authentication', 'the user may not read the configuration')
    let answer = listener.next(prompt, openingMs, { question: how.ask })
    enter(how.command)
    let ending = await answer
    if (ending.kind === 'question') {
      answer = listener.next(prompt, openingMs, { question: how.ask })
      enter(login.enablePassword ?? login.password ?? '', '<password>')
      ending = await answer
    }
    const reached = lastLine(ending.raw).trim()
    if (ending.kind === 'question' || !shell.prompt.privileged.test(reached)) {
      const why = cleanTerminal(ending.raw)
        .split('\n')
        .find(line => how.refused.test(line))
      throw fail('authentication', `the device refuses "${how.command}"${why ? `: ${why}` : ''}`)
    }
  }
}

interface Expectation {
  prompt: RegExp
  question: RegExp | undefined
  resolve(ending: Ending): void
  reject(error: Error): void
}

/** Collects what the channel sends and decides, in moments of silence, what it stopped at. */
function listen(context: ShellContext, channel: ClientChannel, dialogues: readonly Dialogue[]) {
  const { fail, transcript } = context
  let expectation: Expectation | undefined
  let raw = ''
  /** What was already answered is not asked again. */
  let answered = 0
  let quiet: NodeJS.Timeout | undefined
  let silence: NodeJS.Timeout | undefined
  let deadline: NodeJS.Timeout | undefined
  let nudge: NodeJS.Timeout | undefined
  let closed = false

  channel.on('data', (bytes: Buffer) => {
    const text = bytes.toString('latin1')
    transcript.received(text)
    raw += text
    if (raw.length > context.answerCharacters) {
      settle(fail('rejected', `more than ${context.answerCharacters} characters in one answer`))
      channel.close()
      return
    }
    clearTimeout(nudge)
    if (expectation) arm()
  })
  channel.on('close', () => {
    closed = true
    settle(fail('incomplete', 'the device closed the connection in the middle of the session'))
  })

  function arm() {
    clearTimeout(quiet)
    clearTimeout(silence)
    quiet = setTimeout(judge, context.quietMs)
    silence = setTimeout(
      () => settle(fail('timeout', `no byte for ${context.silenceMs / 1000} s`)),
      context.silenceMs,
    )
  }

  function judge() {
    const line = lastLine(raw.slice(answered))
    const dialogue = dialogues.find(({ when }) => when.test(line))
    if (expectation?.question?.test(line)) settle({ kind: 'question', raw })
    else if (expectation?.prompt.test(line)) settle({ kind: 'prompt', raw })
    else if (dialogue) {
      answered = raw.length
      transcript.noted(`answered "${line.trim()}"`)
      channel.write(dialogue.send)
    }
  }

  function settle(outcome: Ending | Error) {
    for (const timer of [quiet, silence, deadline, nudge]) clearTimeout(timer)
    const waiting = expectation
    expectation = undefined
    if (outcome instanceof Error) waiting?.reject(outcome)
    else waiting?.resolve(outcome)
  }

  return {
    /** The next answer, from this moment on. Call before the command is sent. */
    next(
      prompt: RegExp,
      timeoutMs: number,
      options: { question?: RegExp; nudge?: () => void } = {},
    ): Promise<Ending> {
      // What came unasked before is not part of the answer, save at the very beginning.
      if (!options.nudge) raw = ''
      answered = 0
      return new Promise((resolve, reject) => {
        expectation = { prompt, question: options.question, resolve, reject }
        if (closed) {
          settle(fail('incomplete', 'the device has closed the connection'))
          return
        }
        deadline = setTimeout(
          () => settle(fail('timeout', `no whole answer within ${timeoutMs / 1000} s`)),
          timeoutMs,
        )
        if (options.nudge) nudge = setTimeout(options.nudge, nudgeMs)
        arm()
      })
    },
  }
}

function literally(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')
}

/** The device's bytes as text: UTF-8 if they are, else one character a byte. */
function decode(latin1: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(latin1, 'latin1'))
  } catch {
    return latin1
  }
}
