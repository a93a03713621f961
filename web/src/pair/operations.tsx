import { usePages } from '../api/use-pages.ts'
import { formatDuration } from '../format/units.ts'
import { Tag } from '../parts/panel.tsx'
import { Rows } from '../parts/rows.tsx'
import { Empty } from '../parts/states.tsx'
import { Moment } from '../parts/when.tsx'
import { kindNames, outcomeOf, reportOf } from './words.ts'

/** Drills, checks and upgrades with their reports; one opens with its steps. */
export function Operations({ onOpen }: { onOpen: (id: string) => void }) {
  const { list, more } = usePages('listOperations', { limit: 50, every: 5000 })
  return (
    <Rows
      query={list}
      what="Could not load the drills and checks"
      label="Drills, checks and upgrades"
      testId="operations-table"
      stacks
      rows={data => data.pages.flatMap(page => page.operations)}
      keyOf={operation => operation.id}
      empty={
        <Empty title="No drill yet">
          A drill shows that the other server can do the work, and how long the change takes.
        </Empty>
      }
      columns={[
        { head: 'Begun', cell: operation => <Moment at={operation.started} /> },
        {
          head: 'What',
          cell: operation => (
            <button type="button" className="linklike" onClick={() => onOpen(operation.id)}>
              {kindNames[operation.kind]}
            </button>
          ),
        },
        { head: 'By', cell: operation => operation.by },
        {
          head: 'Result',
          cell: operation => {
            const { label, tone } = outcomeOf(operation)
            return <Tag tone={tone}>{label}</Tag>
          },
        },
        { head: 'Report', wrap: true, cell: reportOf },
        {
          head: 'Took',
          num: true,
          wide: true,
          cell: ({ started, finished }) =>
            finished === null ? '' : formatDuration(Date.parse(finished) - Date.parse(started)),
        },
      ]}
      more={more('Show older ones')}
    />
  )
}
