import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { SyslogProblem } from './syslog.ts'
import { createSyslogFramer } from './syslog-stream.ts'

function frame(chunks: (string | Uint8Array)[], maxBytes = 65_536) {
  const messages: string[] = []
  const problems: SyslogProblem[] = []
  const framer = createSyslogFramer(
    {
      onMessage: bytes => messages.push(Buffer.from(bytes).toString()),
      onProblem: problem => problems.push(problem),
    },
    { maxBytes },
  )
  for (const chunk of chunks) framer.push(Buffer.from(chunk))
  framer.end()
  return { messages, problems }
}

const counted = (text: string) => `${Buffer.byteLength(text)} ${text}`

describe('a syslog stream', () => {
  test('separates by line feed, CR LF, NUL, and a feed with a blank behind it', () => {
    expect(frame(['<13>a\n<13>b\r\n<13>c\0<13>d\n <13>e\n\n<13>f'])).toEqual({
      messages: ['<13>a', '<13>b', '<13>c', '<13>d', '<13>e', '<13>f'],
      problems: [],
    })
  })

  test('separates by counted octets, which may hold line feeds', () => {
    expect(frame([counted('<13>one\ntwo') + counted('<13>grüße\n') + counted('<13>z')])).toEqual({
      messages: ['<13>one\ntwo', '<13>grüße', '<13>z'],
      problems: [],
    })
  })

  test('takes both on one connection', () => {
    const text = `${counted('<13>a')}<13>b\n${counted('<13>c')}\n<13>d\n`
    expect(frame([text]).messages).toEqual(['<13>a', '<13>b', '<13>c', '<13>d'])
  })

  test('does not take the digits of a message for a count', () => {
    const lines = [
      '1179: r1: May 31 15:25:53: %LINK-5-CHANGED: x',
      '2018-06-27T12:17:46Z host x',
      '12 drummers',
    ]
    expect(frame([`${lines.join('\n')}\n`])).toEqual({ messages: lines, problems: [] })
  })

  test('finds the next message behind a count that is too small, or too large', () => {
    expect(frame([`7 <13>too small${counted('<13>next')}`])).toEqual({
      messages: ['<13>too', 'small', '<13>next'],
      problems: [],
    })
    expect(frame([`6 <13>too small${counted('<13>next')}`])).toEqual({
      messages: ['<13>to', 'o small', '<13>next'],
      problems: ['bad-count'],
    })
    expect(frame([`14 <13>large${counted('<13>next')}${counted('<13>last')}`])).toEqual({
      messages: ['<13>large', '<13>next', '<13>last'],
      problems: ['bad-count'],
    })
  })

  test('keeps the beginning of a message that is too long and goes on behind it', () => {
    const long = `<13>${'x'.repeat(40)}`
    expect(frame([`${long}\n<13>next\n`], 16)).toEqual({
      messages: [long.slice(0, 16), '<13>next'],
      problems: ['oversize'],
    })
    expect(frame([counted(long) + counted('<13>next')], 16)).toEqual({
      messages: [long.slice(0, 16), '<13>next'],
      problems: ['oversize'],
    })
    expect(frame([long + counted('<13>next')], 16).messages).toEqual([
      long.slice(0, 16),
      '<13>next',
    ])
  })

  test('gives what is left when the connection ends', () => {
    expect(frame(['20 <13>cut'])).toEqual({ messages: ['<13>cut'], problems: ['cut-off'] })
    expect(frame(['<13>whole'])).toEqual({ messages: ['<13>whole'], problems: [] })
    expect(frame(['12'])).toEqual({ messages: ['12'], problems: [] })
  })

  test('says the same however it is cut into chunks', () => {
    const stream = Buffer.from(
      `<13>a\n${counted('<13>b\nc')}${counted('<13>d')}6 <13>too small${counted('<13>e')}<13>${'x'.repeat(50)}\n1: f\n${counted('<13>g')}`,
    )
    const whole = frame([stream], 30).messages
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length), { maxLength: 12 }), cuts => {
        const at = [0, ...cuts.sort((a, b) => a - b), stream.length]
        const chunks = at.slice(1).map((end, index) => stream.subarray(at[index]!, end))
        const { messages } = frame(chunks, 30)
        // A wrong count is noticed by what follows it; where that has not come, the text is the same.
        expect(messages.join('')).toBe(whole.join(''))
      }),
    )
    expect(
      frame(
        [...stream].map(byte => Uint8Array.of(byte)),
        30,
      ).messages,
    ).toEqual(whole)
  })

  test('of any bytes gives bounded messages and never throws', () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc
        .constantFrom('12 <13>abc', '\n', '\0', '99999999 <1', '<13>', '5 ', '1', '<')
        .map(text => Buffer.from(text)),
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), chunks => {
        for (const message of frame(chunks, 20).messages) {
          expect(message.length).toBeLessThanOrEqual(20)
        }
      }),
    )
  })
})
