/** Server-sent events as they come out of a fetch (WHATWG HTML §9.2.6), the `data` of each. */

/** Longest event that is taken, characters: a bound against a server that never ends one. */
const maxEvent = 4 * 1024 * 1024

/** Feeds on chunks of text in any partition; gives the data of each event that is complete. */
export function createEventParser(): (chunk: string) => string[] {
  let rest = ''
  let data: string[] = []
  let size = 0
  return chunk => {
    const events: string[] = []
    const lines = (rest + chunk).split(/\r\n|\n|\r(?!$)/)
    rest = lines.pop()!
    for (const line of lines) {
      if (line === '') {
        if (data.length > 0) events.push(data.join('\n'))
        data = []
        size = 0
      } else if (line.startsWith('data:')) {
        const text = line.slice(line[5] === ' ' ? 6 : 5)
        size += text.length
        if (size > maxEvent) throw new RangeError('an event is too long')
        data.push(text)
      }
    }
    if (rest.length > maxEvent) throw new RangeError('an event is too long')
    return events
  }
}

/**
 * The events of a response until it ends.
 * @param heard called whenever anything comes, a comment too
 * @throws what the body or the parser throws
 */
export async function* readEvents(
  response: Response,
  heard: () => void = () => {},
): AsyncGenerator<string> {
  if (response.body === null) return
  const parse = createEventParser()
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  try {
    while (true) {
      const { done, value } = await reader.read()
      if (done) return
      heard()
      yield* parse(value)
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}
