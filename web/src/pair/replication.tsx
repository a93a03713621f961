import type { PairState } from '../api/connection.ts'
import { formatBytes, formatDuration } from '../format/units.ts'
import { Panel, Tag } from '../parts/panel.tsx'

type Replicated = NonNullable<PairState['replication']>

/** How the servers' own databases stand to each other, and who votes on which one leads. */
export function Replication({ pair }: { pair: PairState }) {
  const { replication } = pair
  if (replication === null) return null
  return (
    <Panel
      title="Replication"
      note={<span data-testid="replication-sentence">{sentenceOf(pair, replication)}</span>}
      testId="replication"
    >
      <table className="t">
        <caption className="sr-only">Who votes</caption>
        <thead>
          <tr>
            <th scope="col">Voter</th>
            <th scope="col">Is</th>
            <th scope="col">Has voted for</th>
          </tr>
        </thead>
        <tbody>
          {replication.voters.map(({ name, present, term, votedFor }) => (
            <tr key={name}>
              <td>{name}</td>
              <td>
                <Tag tone={present ? 'ok' : 'bad'}>{present ? 'there' : 'not heard'}</Tag>
              </td>
              <td>{votedFor === null ? '–' : `${votedFor} in term ${term}`}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p className="dim" data-testid="voters-mean">
        {replication.votersMean}
      </p>
    </Panel>
  )
}

function sentenceOf({ self }: PairState, replication: Replicated): string {
  const { changes, copied, copyError, doing, follower } = replication
  switch (doing) {
    case 'copies':
      return `${self} copies the other’s database${copied === null ? '' : `: ${progressOf(copied)}`}${copyError === null ? '' : `; it failed before: ${copyError}`}`
    case 'follows':
      return `the database of ${self} follows the active’s`
    case 'leads': {
      if (follower === null) return changes ?? 'no server follows'
      const { behindBytes, behindMs } = follower
      const behind = behindBytes === 0 ? 'nothing behind' : `${formatBytes(behindBytes)} behind`
      const since = behindMs === null ? '' : `, ${formatDuration(behindMs)}`
      return `${changes}; ${behind}${since}`
    }
    default:
      return `the database of ${self} waits until it is known who is active`
  }
}

function progressOf({ bytes, bytesPerSecond, totalBytes }: NonNullable<Replicated['copied']>) {
  const of = totalBytes === null ? '' : ` of ${formatBytes(totalBytes)}`
  return `${formatBytes(bytes)}${of}, ${formatBytes(bytesPerSecond)}/s`
}
