/** A curve without axes beside a number. */
export function Sparkline({ values, label }: { values: readonly number[]; label: string }) {
  const top = Math.max(...values, 1e-9)
  const last = Math.max(values.length - 1, 1)
  const points = values.map((value, index) => `${(100 * index) / last},${23 - (21 * value) / top}`)
  return (
    <svg
      viewBox="0 0 100 24"
      preserveAspectRatio="none"
      width="100%"
      height="24"
      role="img"
      aria-label={label}
    >
      {points.length > 1 && (
        <>
          <polygon points={`0,24 ${points.join(' ')} 100,24`} fill="var(--kw-accent-soft)" />
          <polyline
            points={points.join(' ')}
            fill="none"
            stroke="var(--kw-accent)"
            strokeWidth="1.5"
            vectorEffect="non-scaling-stroke"
          />
        </>
      )}
    </svg>
  )
}
