/** Conditions `dimension=value` of a traffic question. */
import type { Dimension } from '../../../src/telemetry/table.ts'
import { trafficDimensions } from '../../../src/telemetry/traffic-dimensions.ts'

/** What traffic can be grouped and filtered by. */
export const dimensions: readonly Dimension[] = trafficDimensions.map(({ name, label }) => ({
  name,
  label,
}))

const labels = new Map(dimensions.map(dimension => [dimension.name, dimension.label]))

export function isDimension(name: string): boolean {
  return labels.has(name)
}

/** `Source address` for `src.addr`. */
export function dimensionLabel(name: string): string {
  return labels.get(name) ?? name
}

export interface Condition {
  dimension: string
  value: string
}

/** Undefined if the text names no dimension or no value. */
export function parseCondition(text: string): Condition | undefined {
  const at = text.indexOf('=')
  if (at <= 0) return undefined
  const dimension = text.slice(0, at).trim()
  const value = text.slice(at + 1).trim()
  return isDimension(dimension) && value !== '' ? { dimension, value } : undefined
}

function formatCondition(condition: Condition): string {
  return `${condition.dimension}=${condition.value}`
}

/** Adds conditions without doubling them; one that another value of its dimension held is replaced. */
export function addConditions(where: readonly string[], added: readonly Condition[]): string[] {
  const replaced = new Set(added.map(condition => condition.dimension))
  const kept = where.filter(text => !replaced.has(parseCondition(text)?.dimension ?? ''))
  return [...kept, ...added.map(formatCondition)]
}

/** Whether the address dimension takes monospace and no meaning. */
export function isAddress(dimension: string): boolean {
  return dimension === 'exporter' || dimension === 'next.hop' || dimension.endsWith('.addr')
}
