import { SegmentedControl, Select, TextInput } from '@mantine/core'
import { IconSearch } from '@tabler/icons-react'
import { useState } from 'react'
import { usePages } from '../api/use-pages.ts'
import { Tag, type Tone } from '../parts/panel.tsx'
import { Rows } from '../parts/rows.tsx'
import { Empty } from '../parts/states.tsx'
import { Moment } from '../parts/when.tsx'
import { causeOf, type HistoryFilter, matching, type RoleChange } from './words.ts'

const roleTones: Record<RoleChange['role'], Tone> = {
  active: 'ok',
  standby: 'accent',
  stopped: 'plain',
}

/** Every change of role: who, when, and why. */
export function History() {
  const [filter, setFilter] = useState<HistoryFilter>({ server: null, which: 'all', text: '' })
  const { list, more } = usePages('listRoleChanges', { limit: 50, every: 5000 })
  const loaded = list.data?.pages.flatMap(page => page.changes) ?? []
  const shown = matching(loaded, filter)
  const filtered = shown.length < loaded.length
  return (
    <>
      <div className="filters">
        <SegmentedControl
          size="xs"
          aria-label="Which changes"
          value={filter.which}
          onChange={value => setFilter({ ...filter, which: value as HistoryFilter['which'] })}
          data={[
            { value: 'all', label: 'All' },
            { value: 'takeovers', label: 'Became active' },
            { value: 'trouble', label: 'Trouble' },
          ]}
        />
        <Select
          size="xs"
          aria-label="Server"
          placeholder="Both servers"
          clearable
          value={filter.server}
          onChange={server => setFilter({ ...filter, server })}
          data={[...new Set(loaded.map(change => change.server))].sort()}
          w={150}
        />
        <TextInput
          size="xs"
          aria-label="Words in the history"
          placeholder="Words"
          leftSection={<IconSearch size={13} />}
          value={filter.text}
          onChange={event => setFilter({ ...filter, text: event.currentTarget.value })}
          w={180}
        />
        {filtered && (
          <span className="dim">
            {shown.length} of {loaded.length}
            {list.hasNextPage ? ' loaded' : ''}
          </span>
        )}
      </div>
      <Rows
        query={list}
        what="Could not load the history"
        label="Changes of role"
        testId="history-table"
        stacks
        rows={() => shown}
        keyOf={change => change.id}
        empty={
          loaded.length === 0 ? (
            <Empty title="No change of role yet" />
          ) : (
            <Empty title="None of those that are loaded" />
          )
        }
        columns={[
          { head: 'When', cell: change => <Moment at={change.at} milliseconds /> },
          { head: 'Server', className: 'nowrap', cell: change => change.server },
          {
            head: 'Became',
            cell: change => <Tag tone={roleTones[change.role]}>{change.role}</Tag>,
          },
          { head: 'Term', num: true, cell: change => change.term },
          { head: 'Cause', cell: change => <Cause cause={change.cause} /> },
          { head: 'Why', wrap: true, cell: change => change.sentence },
        ]}
        more={more('Show older changes')}
      />
    </>
  )
}

function Cause({ cause }: { cause: string }) {
  const { label, tone } = causeOf(cause)
  return <Tag tone={tone}>{label}</Tag>
}
