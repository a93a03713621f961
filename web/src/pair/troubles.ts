/** What is wrong with the pair, in sentences. Pure. */
import type { PairState } from '../api/connection.ts'
import type { AnswerOf } from '../api/hooks.ts'
import { formatDuration } from '../format/units.ts'

type Condition = AnswerOf<'listConditions'>['conditions'][number]

export interface Trouble {
  key: string
  tone: 'warn' | 'bad'
  sentence: string
}

/** Conditions that the state of the pair itself tells, and sooner; and those of single devices. */
const toldOtherwise = [
  'address-fault',
  'backup-failed',
  'database-away',
  'standby-away',
  'takeovers-paused',
  'takeovers-stopped',
]

/** What stands before the first `/` of a condition's key. */
function kindOf({ key }: Condition): string {
  return key.split('/', 1)[0]!
}

/** The sentence of the first condition of a kind; null: there is none. */
export function conditionOf(conditions: readonly Condition[], kind: string): string | null {
  return conditions.find(condition => kindOf(condition) === kind)?.text ?? null
}

export function troublesOf(pair: PairState, conditions: readonly Condition[]): Trouble[] {
  const troubles: Trouble[] = []
  const add = (key: string, tone: Trouble['tone'], sentence: string) =>
    troubles.push({ key, tone, sentence })

  if (pair.active === null) add('nobody', 'bad', 'Nobody is active.')
  if (!pair.database.reachable && pair.replication !== null) {
    add('database', 'bad', `${pair.self}: ${pair.replication.votersMean}.`)
  } else if (!pair.database.reachable) {
    add(
      'database',
      'bad',
      `${pair.self} does not reach the database: nobody can take over, and no state is written. What comes in is received and kept.`,
    )
  }
  const { ageMs } = pair.heartbeat
  if (pair.database.reachable && ageMs !== null && ageMs > 3 * pair.timings.heartbeatMs) {
    add(
      'heartbeat',
      'bad',
      `No heartbeat for ${formatDuration(ageMs)}. ${asSentence(pair.sentence)}`,
    )
  }
  if (pair.paused !== null) {
    add('paused', isFlapping(pair) ? 'bad' : 'warn', pauseOf(pair.paused))
  }
  if (pair.address.fault !== null) {
    add('address', 'bad', asSentence(`${addressName(pair)}: ${pair.address.fault}`))
  }
  for (const server of pair.servers) {
    if (server.role === 'unknown') {
      add(
        `server ${server.name}`,
        'bad',
        `${server.name} does not answer ${pair.self}. If ${pair.active ?? 'the active'} fails now, nobody takes over.`,
      )
    } else if (server.engine === false) {
      add(
        `engine ${server.name}`,
        'bad',
        `The telemetry engine of ${server.name} does not answer: telemetry waits in the collectors.`,
      )
    }
  }
  for (const condition of conditions) {
    if (toldOtherwise.includes(kindOf(condition))) continue
    add(condition.key, condition.severity === 'critical' ? 'bad' : 'warn', condition.text)
  }
  return troubles
}

/** Keepwatch itself has stopped takeovers: there were too many, and a person is needed. */
export function isFlapping({ paused }: Pick<PairState, 'paused'>): boolean {
  return paused?.by === 'keepwatch'
}

/** Who has stopped takeovers and why; until when is for whoever shows it. */
export function pauseOf({ by, reason }: NonNullable<PairState['paused']>): string {
  return by === 'keepwatch'
    ? `Takeovers are stopped: ${reason}. Find out why, then resume.`
    : `Takeovers are paused by ${by}: ${reason}`
}

/** How the network finds the active, in a few words: `virtual IP 192.0.2.10/24`. */
export function addressName({ address }: Pick<PairState, 'address'>): string {
  const what = address.what.join(', ')
  switch (address.type) {
    case 'virtual-ip':
      return `virtual IP ${what}`.trim()
    case 'virtual-name':
      return `virtual host name ${what}`.trim()
    default:
      return 'no address moves'
  }
}

function asSentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`
}
