import { formatCount } from '../format/units.ts'
import { Tag } from './panel.tsx'

/** What was wrong, by reason, the most frequent first. */
export function Problems({ problems }: { problems: Record<string, number> }) {
  const entries = Object.entries(problems)
    .filter(([, count]) => count > 0)
    .toSorted((a, b) => b[1] - a[1])
  if (entries.length === 0) return <span className="dim">no problems</span>
  return (
    <span className="row tight">
      {entries.map(([reason, count]) => (
        <Tag key={reason} tone="warn">
          {reason.replaceAll(/[-_]/g, ' ')} {formatCount(count)}
        </Tag>
      ))}
    </span>
  )
}
