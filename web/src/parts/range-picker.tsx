import { Button, Popover, SegmentedControl, TextInput } from '@mantine/core'
import { IconCalendar } from '@tabler/icons-react'
import { useState } from 'react'
import { formatMoment, fromLocalInput, toLocalInput } from '../format/time.ts'
import { boundsOf, type Preset, presets, type Range } from '../search/range.ts'

/** The last so much, or from one moment to another. */
export function RangePicker({
  value,
  onChange,
}: {
  value: Range
  onChange: (range: Range) => void
}) {
  const fixed = !('preset' in value)
  const [opened, setOpened] = useState(false)
  const [from, setFrom] = useState('')
  const [to, setTo] = useState('')
  const fromMs = fromLocalInput(from)
  const toMs = fromLocalInput(to)
  const valid = fromMs !== undefined && toMs !== undefined && fromMs < toMs

  function open() {
    const bounds = boundsOf(value, Date.now())
    setFrom(toLocalInput(bounds.from))
    setTo(toLocalInput(bounds.to))
    setOpened(true)
  }

  return (
    <div className="row" data-testid="range">
      <SegmentedControl
        size="xs"
        aria-label="Range of time"
        value={fixed ? '' : value.preset}
        onChange={preset => onChange({ preset: preset as Preset })}
        data={Object.entries(presets).map(([name, { label }]) => ({ value: name, label }))}
      />
      <Popover opened={opened} onChange={setOpened} position="bottom-end" shadow="md" trapFocus>
        <Popover.Target>
          <Button
            size="xs"
            variant={fixed ? 'light' : 'default'}
            leftSection={<IconCalendar size={14} />}
            onClick={() => (opened ? setOpened(false) : open())}
          >
            {fixed
              ? `${formatMoment(new Date(value.from))} – ${formatMoment(new Date(value.to))}`
              : 'Custom'}
          </Button>
        </Popover.Target>
        <Popover.Dropdown>
          <form
            className="form"
            onSubmit={event => {
              event.preventDefault()
              if (!valid) return
              onChange({ from: fromMs, to: toMs })
              setOpened(false)
            }}
          >
            <TextInput
              label="From"
              type="datetime-local"
              step={1}
              value={from}
              onChange={event => setFrom(event.currentTarget.value)}
              data-autofocus
            />
            <TextInput
              label="To (exclusive)"
              type="datetime-local"
              step={1}
              value={to}
              onChange={event => setTo(event.currentTarget.value)}
              error={valid || to === '' ? undefined : 'must be later than the beginning'}
            />
            <Button type="submit" size="xs" aria-disabled={!valid} data-disabled={!valid}>
              Show
            </Button>
          </form>
        </Popover.Dropdown>
      </Popover>
    </div>
  )
}
