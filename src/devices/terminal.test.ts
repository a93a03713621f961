import { describe, expect, test } from 'vitest'
import { cleanTerminal, lastLine } from './terminal.ts'
import { createTranscript } from './transcript.ts'

describe('what a terminal shows', () => {
  test.each([
    ['escapes vanish', '\x1b[2K\x1b[1;31minterface\x1b[0m Gi1\x1b=\x1b(B\x1b>', 'interface Gi1'],
    [
      'a pager wiped with backspaces',
      ' --More-- \b\b\b\b\b\b\b\b\b\b          \b\b\b\b\b\b\b\b\b\bend',
      'end',
    ],
    [
      'a pager wiped with a carriage return',
      '--More--\r        \rinterface Vlan10',
      'interface Vlan10',
    ],
    ['a line end of many carriage returns', 'first\r\r\nsecond\r\n', 'first\nsecond\n'],
    [
      'blanks at the end of a line stay',
      'version 2c community \r\nend',
      'version 2c community \nend',
    ],
    ['typing over', 'abc\b\bXY', 'aXY'],
    ['padding before a move to the left', 'display \x1b[16D', 'display'],
    ['bells and zeros', 'a\x07b\x00c', 'abc'],
  ])('%s', (_name, raw, shown) => {
    expect(cleanTerminal(raw)).toBe(shown)
  })

  test('the last line is what waits for an answer', () => {
    expect(lastLine('hostname core1\r\nend\r\n\r\n\x1b[Kcore1#')).toBe('core1#')
    expect(lastLine('core1#\r\n')).toBe('')
  })
})

describe('a transcript', () => {
  test('hides what is confidential, also when the device echoes it', () => {
    const transcript = createTranscript(['s3cret', ''])
    transcript.received('Password: ')
    transcript.received('s3c')
    transcript.received('ret\r\n% Access denied\r\n')
    expect(transcript.text()).toBe('Password: <hidden>\n% Access denied')
  })

  test('keeps the beginning and the end of a long dialogue, in whole lines', () => {
    const transcript = createTranscript([])
    for (let line = 0; line < 20_000; line++) transcript.received(`line ${line} of many\n`)
    const lines = transcript.text().split('\n')
    expect(transcript.text().length).toBeLessThan(60_000)
    expect(lines[0]).toBe('line 0 of many')
    expect(lines.at(-1)).toBe('line 19999 of many')
    expect(lines.filter(line => !/^line \d+ of many$|^$|^\*\*\* /.test(line))).toEqual([])
  })
})
