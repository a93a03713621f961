import {
  ActionIcon,
  Anchor,
  Button,
  Popover,
  SegmentedControl,
  Select,
  TextInput,
} from '@mantine/core'
import { IconPlus, IconX } from '@tabler/icons-react'
import { getRouteApi, Link } from '@tanstack/react-router'
import { useState } from 'react'
import { AnsweredQuestion } from '../parts/asked.tsx'
import { Panel } from '../parts/panel.tsx'
import { RangePicker } from '../parts/range-picker.tsx'
import { Empty, Loading } from '../parts/states.tsx'
import { colorsOf, TrafficChart } from '../parts/traffic-chart.tsx'
import { labelOf } from '../parts/value.tsx'
import type { TrafficSearch } from '../router.tsx'
import { parseRange, rangeSearch } from '../search/range.ts'
import type { Metric } from '../search/series.ts'
import { sourceText } from '../search/source.ts'
import { useTrafficSeries, useTrafficTop } from '../search/use-traffic.ts'
import {
  addConditions,
  type Condition,
  dimensionLabel,
  dimensions,
  parseCondition,
} from '../search/where.ts'
import { TopTable } from './traffic-table.tsx'

const route = getRouteApi('/traffic')

/** Pairs that are asked for often, beside the single dimensions. */
const pairs = ['src.addr,dst.addr', 'src.addr,dst.addr,dst.port', 'exporter,in.if', 'src.as,dst.as']

function byLabel(by: string): string {
  return by.split(',').map(dimensionLabel).join(' → ')
}

export function TrafficPage() {
  const search = route.useSearch()
  const navigate = route.useNavigate()
  const range = parseRange(search)
  const metric = search.metric ?? 'bits'
  const by = search.by ?? 'src.addr'
  const where = search.where ?? []
  const seriesBy = by.split(',')[0]!

  function go(change: Partial<TrafficSearch>) {
    void navigate({ search: previous => clean({ ...previous, ...change }) })
  }

  const [insistence, insist] = useState<{ on: string; anyway?: true; exact?: true }>({ on: '' })
  const asked = JSON.stringify({ range, metric, where, by })
  const { on: _, ...insisted } = insistence.on === asked ? insistence : { on: asked }
  const onAnyway = () => insist({ ...insisted, on: asked, anyway: true })
  const question = { range, metric, where, ...insisted }
  const onStop = () => {
    series.stop()
    top.stop()
    insist({ on: '' })
  }
  const series = useTrafficSeries({ ...question, by: seriesBy, groups: 9 })
  const top = useTrafficTop({ ...question, by, limit: 50 })

  return (
    <>
      <h1 className="sr-only">Traffic</h1>
      <div className="spread">
        <div className="row">
          <SegmentedControl
            size="xs"
            aria-label="Metric"
            value={metric}
            onChange={value => go({ metric: value as Metric })}
            data={[
              { value: 'bits', label: 'bit/s' },
              { value: 'packets', label: 'packets/s' },
              { value: 'flows', label: 'flows/s' },
            ]}
          />
          <Select
            size="xs"
            w={230}
            aria-label="Group by"
            searchable
            allowDeselect={false}
            value={by}
            onChange={value => value !== null && go({ by: value })}
            data={[
              {
                group: 'Together',
                items: groupOptions([...new Set([...pairs, by])].filter(isPair)),
              },
              { group: 'One dimension', items: groupOptions(dimensions.map(({ name }) => name)) },
            ]}
            maxDropdownHeight={420}
          />
        </div>
        <RangePicker
          value={range}
          onChange={value =>
            void navigate({
              search: ({ range: _r, from: _f, to: _t, ...rest }) => ({
                ...rest,
                ...rangeSearch(value),
              }),
            })
          }
        />
      </div>
      <Conditions where={where} onChange={next => go({ where: next })} />
      <Panel>
        <AnsweredQuestion
          query={series}
          onAnyway={onAnyway}
          onStop={onStop}
          what="Could not load the traffic"
          loading={<Loading height={300} />}
          empty={data =>
            data.series.length === 0 && (
              <Empty title="No flows here">
                {where.length > 0 ? (
                  'No flow in this range meets all conditions: take one away or widen the range.'
                ) : (
                  <>
                    No flows were received in this range. Send NetFlow, IPFIX or sFlow to a{' '}
                    <Link to="/collectors">collector</Link> (NetFlow usually to port 2055).
                  </>
                )}
              </Empty>
            )
          }
        >
          {data => (
            <TrafficChart
              answer={data}
              metric={metric}
              by={seriesBy}
              height={300}
              testId="traffic-chart"
              onSelect={(from, to) =>
                void navigate({
                  search: ({ range: _, ...rest }) => ({ ...rest, ...rangeSearch({ from, to }) }),
                })
              }
            />
          )}
        </AnsweredQuestion>
      </Panel>
      <Panel
        title={byLabel(by)}
        note={
          top.data && (
            <>
              largest {top.data.rows.length} · {sourceText(top.data.source)}
              {top.data.source.approximate && (
                <>
                  {' · '}
                  <Anchor
                    component="button"
                    size="xs"
                    title="Only the addresses with the most traffic of each pair of interfaces were looked at. What the others have is in the rest."
                    onClick={() => insist({ on: asked, exact: true })}
                    data-testid="look-at-every-flow"
                  >
                    look at every flow
                  </Anchor>
                </>
              )}
            </>
          )
        }
        flush
      >
        <AnsweredQuestion
          query={top}
          onAnyway={onAnyway}
          onStop={onStop}
          what="Could not load the largest groups"
          loading={<Loading rows={12} />}
          empty={data => data.rows.length === 0 && <Empty title="Nothing to list" />}
        >
          {data => (
            <TopTable
              answer={data}
              by={by.split(',')}
              metric={metric}
              colors={
                by.includes(',') || series.data === undefined
                  ? new Map()
                  : colorsOf(series.data.series)
              }
              onPick={conditions => go({ where: addConditions(where, conditions) })}
            />
          )}
        </AnsweredQuestion>
      </Panel>
    </>
  )
}

function clean(search: TrafficSearch): TrafficSearch {
  const { where, ...rest } = search
  return where === undefined || where.length === 0 ? rest : { ...rest, where }
}

function isPair(by: string): boolean {
  return by.includes(',')
}

function groupOptions(names: readonly string[]) {
  return names.map(name => ({ value: name, label: byLabel(name) }))
}

/** The conditions as chips, and a way to add one by hand. */
function Conditions({
  where,
  onChange,
}: {
  where: readonly string[]
  onChange: (where: string[]) => void
}) {
  const [opened, setOpened] = useState(false)
  const [dimension, setDimension] = useState('src.addr')
  const [value, setValue] = useState('')
  const conditions = where.map(parseCondition).filter((one): one is Condition => one !== undefined)
  return (
    <div className="row" data-testid="conditions">
      {conditions.map(condition => (
        <span className="chip" key={condition.dimension}>
          <span className="dim">{dimensionLabel(condition.dimension)}</span>
          <span className="mono">{labelOf(condition.dimension, condition.value)}</span>
          <ActionIcon
            size="xs"
            variant="subtle"
            color="gray"
            aria-label={`Remove the condition ${dimensionLabel(condition.dimension)} ${condition.value}`}
            onClick={() =>
              onChange(
                where.filter(text => parseCondition(text)?.dimension !== condition.dimension),
              )
            }
          >
            <IconX size={12} />
          </ActionIcon>
        </span>
      ))}
      <Popover opened={opened} onChange={setOpened} position="bottom-start" shadow="md" trapFocus>
        <Popover.Target>
          <Button
            size="compact-xs"
            variant="subtle"
            leftSection={<IconPlus size={13} />}
            onClick={() => setOpened(!opened)}
          >
            Condition
          </Button>
        </Popover.Target>
        <Popover.Dropdown>
          <form
            className="form"
            onSubmit={event => {
              event.preventDefault()
              if (value.trim() === '') return
              onChange(addConditions(where, [{ dimension, value: value.trim() }]))
              setValue('')
              setOpened(false)
            }}
          >
            <Select
              label="Dimension"
              searchable
              allowDeselect={false}
              comboboxProps={{ withinPortal: false }}
              value={dimension}
              onChange={next => next !== null && setDimension(next)}
              data={groupOptions(dimensions.map(({ name }) => name))}
            />
            <TextInput
              label="Value"
              className="mono"
              value={value}
              onChange={event => setValue(event.currentTarget.value)}
              data-autofocus
            />
            <Button type="submit" size="xs">
              Add
            </Button>
          </form>
        </Popover.Dropdown>
      </Popover>
      {conditions.length === 0 && (
        <span className="dim">All traffic; click a row below to narrow it down.</span>
      )}
    </div>
  )
}
