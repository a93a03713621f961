import { Tooltip } from '@mantine/core'
import { useEffect, useState } from 'react'
import { formatAgo, formatMoment } from '../format/time.ts'

/** The clock, for what is shown as an age; ticks at the given pace, ms. */
export function useNow(pace = 1000): number {
  const [now, setNow] = useState(() => Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), pace)
    return () => clearInterval(timer)
  }, [pace])
  return now
}

/** `12 s ago`, the moment itself on hover. */
export function Ago({ at, pace = 5000 }: { at: string; pace?: number }) {
  const now = useNow(pace)
  return (
    <Tooltip label={formatMoment(at)}>
      <time dateTime={at} className="nowrap">
        {formatAgo(at, now)}
      </time>
    </Tooltip>
  )
}

/** `2025-11-21 22:19:03`, its age on hover. */
export function Moment({ at, milliseconds = false }: { at: string; milliseconds?: boolean }) {
  return (
    <time dateTime={at} className="nowrap" title={formatAgo(at, Date.now())}>
      {formatMoment(at, milliseconds)}
    </time>
  )
}
