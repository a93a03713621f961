/** The URL's question as plain text values, readable and stable, so that every view is a permalink. */

export type SearchValue = string | string[]
export type Search = Record<string, SearchValue>

/** Keys that occur more than once become lists. */
export function parseSearch(text: string): Search {
  const search: Search = {}
  for (const [key, value] of new URLSearchParams(text)) {
    const present = search[key]
    if (present === undefined) search[key] = value
    else if (Array.isArray(present)) present.push(value)
    else search[key] = [present, value]
  }
  return search
}

/** Leaves out what is undefined, empty or false; true is `1`. Keeps `:`, `,` and `/` readable. */
export function stringifySearch(search: Record<string, unknown>): string {
  const parts: string[] = []
  for (const [key, value] of Object.entries(search)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one === undefined || one === null || one === '' || one === false) continue
      parts.push(`${encode(key)}=${encode(one === true ? '1' : String(one))}`)
    }
  }
  return parts.length === 0 ? '' : `?${parts.join('&')}`
}

function encode(text: string): string {
  return encodeURIComponent(text).replace(/%3A/g, ':').replace(/%2C/g, ',').replace(/%2F/g, '/')
}

/** The value as one string, undefined if it is absent. */
export function textOf(value: unknown): string | undefined {
  const one = Array.isArray(value) ? value[0] : value
  return typeof one === 'string' && one !== '' ? one : undefined
}

/** The value as a list. */
export function listOf(value: unknown): string[] {
  const all = Array.isArray(value) ? value : [value]
  return all.filter((one): one is string => typeof one === 'string' && one !== '')
}

/** The value if it is one of those allowed, else the first of them. */
export function oneOf<const T extends string>(value: unknown, allowed: readonly [T, ...T[]]): T {
  const text = textOf(value)
  return allowed.find(one => one === text) ?? allowed[0]
}
