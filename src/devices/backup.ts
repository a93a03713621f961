import type { Artefact, Driver, Way } from './drivers/driver.ts'
import { DeviceFailure } from './failure.ts'
import type { Answer, OpenSession, Session, Target } from './session.ts'
import { normalise } from './versions.ts'

/** One artefact of a device, proven complete. */
export interface Collected {
  name: string
  /** What is stored; its secrets are in it. */
  content: string
  hash: string
  author: string | undefined
  changedAt: string | undefined
}

export interface Collection {
  artefacts: Collected[]
  transcript: string
}

export interface CollectOptions {
  signal: AbortSignal
  /** Length of the content that was last proven good, by artefact: a sudden half is doubted. */
  lastLength: (artefact: string) => number | undefined
}

/** Fetches of one artefact before its noise is believed to be the device's own. */
const tries = 3

/**
 * Fetches what the device's driver says there is to keep. Nothing is returned that is not proven:
 * framed by prompts or by an exit status, its last line as it must be, long enough, without a
 * pager, an error or somebody's log lines in it.
 *
 * @throws DeviceFailure with the evidence
 */
export async function collectConfiguration(
  deps: { open: OpenSession },
  target: Target,
  options: CollectOptions,
): Promise<Collection> {
  const session = await deps.open(target, options.signal)
  try {
    const artefacts: Collected[] = []
    for (const artefact of target.driver.artefacts) {
      artefacts.push(await collect(session, target.driver, artefact, options))
    }
    return { artefacts, transcript: session.transcript() }
  } finally {
    await session.close()
  }
}

async function collect(
  session: Session,
  driver: Driver,
  artefact: Artefact,
  options: CollectOptions,
): Promise<Collected> {
  const { text, way } = await firstAccepted(session, driver, artefact)
  const found = { name: artefact.name, ...normalise(driver, text) }
  const last = options.lastLength(artefact.name)
  if (last === undefined || found.content.length >= last / 2) return found

  // Half of it is gone: true if the device says so twice.
  const again = normalise(driver, await fetch(session, driver, way, artefact))
  if (again.hash === found.hash) return found
  throw session.fail(
    'incomplete',
    `${found.content.length} characters after ${last} the last time, and a second look says otherwise`,
  )
}

async function firstAccepted(
  session: Session,
  driver: Driver,
  artefact: Artefact,
): Promise<{ text: string; way: Way }> {
  let refusal: DeviceFailure | undefined
  for (const way of artefact.ways) {
    try {
      return { text: await fetch(session, driver, way, artefact), way }
    } catch (error) {
      if (!(error instanceof DeviceFailure) || error.reason !== 'rejected') throw error
      refusal = error
    }
  }
  throw refusal ?? session.fail('rejected', `no way to get ${artefact.name}`)
}

/** One answer without noise, or the reason why there is none. */
async function fetch(
  session: Session,
  driver: Driver,
  way: Way,
  artefact: Artefact,
): Promise<string> {
  let doubt = ''
  for (let attempt = 0; attempt < tries; attempt++) {
    const answer = await session.run(way.command, artefact.timeoutMs)
    const refused = refusal(driver, way, answer)
    if (refused !== undefined) throw session.fail('rejected', `"${way.command}": ${refused}`)
    const found = flaw(driver, way, answer.text)
    if (found === undefined) return answer.text
    doubt = found
  }
  throw session.fail('incomplete', `"${way.command}": ${doubt}`)
}

/** An error message stands at the top; further down it is text of the configuration. */
const errorLines = 5

function refusal(driver: Driver, way: Way, answer: Answer): string | undefined {
  const lines = answer.text.split('\n', errorLines)
  const error = lines.find(line => driver.errors.some(pattern => pattern.test(line)))
  if (error !== undefined && !endsWell(way, answer.text)) return error.trim()
  if (answer.status !== undefined && answer.status !== 0) return `exit status ${answer.status}`
  return undefined
}

/** What makes an answer unfit to be kept; undefined if nothing does. */
function flaw(driver: Driver, way: Way, text: string): string | undefined {
  if (!endsWell(way, text)) return 'the end is missing'
  if (text.length < way.minBytes) return `only ${text.length} characters`
  const pagers = driver.channel === 'shell' ? driver.shell.pager : []
  for (const line of text.split('\n')) {
    if (pagers.some(({ when }) => when.test(line))) return `a pager is in it: ${line.trim()}`
    if (driver.noise.some(pattern => pattern.test(line))) return 'a log message is in it'
  }
  return undefined
}

function endsWell(way: Way, text: string): boolean {
  if (!way.end) return true
  const trimmed = text.trimEnd()
  return way.end.test(trimmed.slice(trimmed.lastIndexOf('\n') + 1))
}
