/** What a value is once it has travelled as JSON: moments are ISO 8601 text. */
export type Wire<T> = T extends Date
  ? string
  : T extends readonly (infer Item)[]
    ? Wire<Item>[]
    : T extends object
      ? { [K in keyof T]: Wire<T[K]> }
      : T

/** The value with its dates as text. */
export function wire<T>(value: T): Wire<T> {
  if (value instanceof Date) return value.toISOString() as Wire<T>
  if (Array.isArray(value)) return value.map(wire) as Wire<T>
  if (value === null || typeof value !== 'object') return value as Wire<T>
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, wire(inner)]),
  ) as Wire<T>
}
