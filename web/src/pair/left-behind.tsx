import type { PairState } from '../api/connection.ts'
import { type AnswerOf, useAnswer, useChange } from '../api/hooks.ts'
import { usePages } from '../api/use-pages.ts'
import { FormError } from '../parts/form-end.tsx'
import { Panel, Tag } from '../parts/panel.tsx'
import { Rows } from '../parts/rows.tsx'
import { Empty } from '../parts/states.tsx'
import { Moment } from '../parts/when.tsx'
import { WriteButton } from '../parts/write-button.tsx'

type Left = AnswerOf<'listLeftBehind'>['leftBehind'][number]

/** What servers had that is in force nowhere, and nobody has looked at yet. */
export function Unseen({ pair }: { pair: PairState }) {
  return pair.replication === null ? null : <UnseenPanels />
}

function UnseenPanels() {
  const answer = useAnswer('listLeftBehind', { query: { limit: 20 } }, { every: 10_000 })
  const unseen = answer.data?.leftBehind.filter(({ seenAt }) => seenAt === null) ?? []
  return unseen.map(left => <UnseenPanel key={left.id} left={left} />)
}

function UnseenPanel({ left }: { left: Left }) {
  const see = useChange('seeLeftBehind', ['listLeftBehind', 'listConditions'])
  const { changes, changeCount, found, id, kept, server, unread } = left
  return (
    <Panel
      title={`Left behind by ${server}`}
      note={
        <>
          {summaryOf(left)}; found <Moment at={found} />
        </>
      }
      testId="left-behind"
      actions={
        <WriteButton
          needs="operator"
          variant="default"
          loading={see.isPending}
          onClick={() => see.mutate({ params: { id } })}
          testId="left-behind-seen"
        >
          I have seen it
        </WriteButton>
      }
    >
      {changes.length > 0 && (
        <div className="table-scroll">
          <table className="t">
            <caption className="sr-only">Changes that {server} had made</caption>
            <thead>
              <tr>
                <th scope="col">When</th>
                <th scope="col">Who</th>
                <th scope="col">What</th>
                <th scope="col">Term</th>
              </tr>
            </thead>
            <tbody>
              {changes.map(change => (
                <tr key={`${change.at} ${change.action} ${change.subject}`}>
                  <td className="nowrap">
                    <Moment at={change.at} milliseconds />
                  </td>
                  <td>{change.who}</td>
                  <td>
                    {change.action} <b>{change.subject}</b>
                  </td>
                  <td>{change.term}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <p className="dim">
        {changeCount > changes.length && `The first ${changes.length} of ${changeCount}. `}
        They were not on the server that took over. Make again those that are still wanted.{' '}
        {unread === null ? 'With everything that belongs to them' : 'The database'} they are kept on{' '}
        {server} in <code>{kept}</code>
        {unread !== null && `, which could not be read: ${unread}`}.
      </p>
      <FormError error={see.error} />
    </Panel>
  )
}

/** All that was left behind so far. */
export function LeftBehind() {
  const { list, more } = usePages('listLeftBehind', { limit: 50, every: 10_000 })
  return (
    <Rows
      query={list}
      what="Could not load what was left behind"
      label="Left behind"
      testId="left-behind-table"
      stacks
      rows={data => data.pages.flatMap(page => page.leftBehind)}
      keyOf={left => left.id}
      empty={
        <Empty title="Nothing was left behind so far">
          A server that was active, and had changes that the one after it lacked, says so here when
          it is back.
        </Empty>
      }
      columns={[
        { head: 'Found', cell: left => <Moment at={left.found} /> },
        { head: 'Server', className: 'nowrap', cell: left => left.server },
        { head: 'What', wrap: true, cell: left => describe(left) },
        { head: 'Kept there in', wrap: true, cell: left => <code>{left.kept}</code> },
        {
          head: 'Seen',
          cell: left =>
            left.seenBy === null ? <Tag tone="warn">not yet</Tag> : `by ${left.seenBy}`,
        },
      ]}
      more={more('Show older')}
    />
  )
}

function describe(left: Left): string {
  const first = left.changes.slice(0, 3).map(({ action, subject }) => `${action} ${subject}`)
  const rest = left.changeCount > first.length ? [`${left.changeCount - first.length} more`] : []
  return first.length === 0
    ? summaryOf(left)
    : `${summaryOf(left)}: ${[...first, ...rest].join(', ')}`
}

function summaryOf({ changeCount, rows, unread }: Left): string {
  if (unread !== null) return 'its database, which could not be read'
  const versions = rows.versions ?? 0
  const parts = [
    changeCount === 1 ? '1 change' : `${changeCount} changes`,
    ...(versions === 0 ? [] : [versions === 1 ? '1 configuration' : `${versions} configurations`]),
  ]
  return parts.join(', ')
}
