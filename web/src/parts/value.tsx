import { formatName, meaningOf } from '../format/ports.ts'
import { restKey } from '../search/series.ts'
import { isAddress } from '../search/where.ts'

function Address({ children }: { children: string }) {
  return <span className="mono">{children}</span>
}

/** A value of a dimension as text: `443 https`, `TCP`, `2001:db8::1`. */
export function labelOf(dimension: string | undefined, value: string): string {
  if (dimension === undefined) return 'All traffic'
  if (value === restKey) return 'Other'
  if (dimension === 'version') return formatName(Number(value))
  const meaning = meaningOf(dimension, value)
  if (meaning === undefined) return value
  return dimension === 'protocol' ? meaning : `${value} ${meaning}`
}

export function DimensionValue({ dimension, value }: { dimension: string; value: string }) {
  if (isAddress(dimension)) return <Address>{value}</Address>
  const meaning = meaningOf(dimension, value)
  return (
    <>
      <span className="mono">{value}</span>
      {meaning !== undefined && <span className="dim"> {meaning}</span>}
    </>
  )
}
