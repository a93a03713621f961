import { cleanTerminal } from './terminal.ts'

/** What was said in a session, for the person who has to find out why it failed. */
export interface Transcript {
  sent(text: string): void
  received(text: string): void
  /** What Keepwatch itself did or saw: connected, lost, waited too long. */
  noted(text: string): void
  /** The whole as text, its middle left out if it is long. */
  text(): string
}

const headCharacters = 4096
const tailCharacters = 24_576

/**
 * Keeps the beginning and the end of a dialogue. What is in `confidential` never comes out,
 * neither sent nor echoed; secrets within a configuration are the driver's to mask.
 */
export function createTranscript(confidential: readonly string[]): Transcript {
  let head = ''
  let tail = ''
  let leftOut = false
  const hidden = confidential.filter(text => text !== '')

  function add(text: string) {
    const room = headCharacters - head.length
    head += text.slice(0, Math.max(0, room))
    tail += text.slice(Math.max(0, room))
    if (tail.length > 2 * tailCharacters) {
      tail = tail.slice(-tailCharacters)
      leftOut = true
    }
  }

  return {
    sent: text => add(`\n>>> ${text.trimEnd()}\n`),
    received: add,
    noted: text => add(`\n*** ${text}\n`),
    text() {
      // A line cut in two could hide from a mask what it says: only whole lines come out.
      const whole = leftOut
        ? `${head.slice(0, head.lastIndexOf('\n') + 1)}\n*** (left out here: the middle)\n${tail.slice(tail.indexOf('\n') + 1)}`
        : head + tail
      let text = cleanTerminal(whole)
      for (const secret of hidden) text = text.replaceAll(secret, '<hidden>')
      return text.trim()
    },
  }
}
