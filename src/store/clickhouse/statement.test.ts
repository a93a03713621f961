import { expect, test } from 'vitest'
import {
  changesSession,
  errorCodeOf,
  insertFromFile,
  isSettingName,
  mentions,
  outputOf,
  quote,
} from './statement.ts'

test.each([
  ['SELECT 1', 'TabSeparated', 'TabSeparated', true],
  ['SELECT 1\nFORMAT JSONEachRow', 'TabSeparated', 'JSONEachRow', true],
  ['with x as (select 1) select * from x format Native;', 'CSV', 'Native', true],
  ['SELECT 1 FORMAT JSON', 'TabSeparated', 'JSON', false],
  ['SELECT 1 FORMAT JSONEachRow SETTINGS max_threads = 1', 'CSV', 'CSV', false],
  ['SHOW TABLES', 'JSONEachRow', 'JSONEachRow', false],
])('%s is answered as it says', (sql, otherwise, format, streaming) => {
  expect(outputOf(sql, otherwise)).toEqual({ format, streaming })
})

test('an insert whose data come apart reads them from a file', () => {
  expect(insertFromFile("INSERT INTO t (a, b) SETTINGS x='y' FORMAT Native", '/d/1')).toBe(
    "INSERT INTO t (a, b) SETTINGS x='y' SELECT * FROM file('/d/1', 'Native')",
  )
  expect(insertFromFile('insert into db.t\nformat JSONEachRow\n', "/o'd/1")).toBe(
    "insert into db.t SELECT * FROM file('/o\\'d/1', 'JSONEachRow')",
  )
  expect(
    insertFromFile("INSERT INTO t (a)\nSELECT a - 1\nFROM input('a UInt8') FORMAT Native", '/d/1'),
  ).toBe("INSERT INTO t (a)\nSELECT a - 1\nFROM file('/d/1', 'Native', 'a UInt8')")
  expect(insertFromFile('SELECT 1 FORMAT Native', '/d/1')).toBeUndefined()
  expect(insertFromFile('INSERT INTO t VALUES (1)', '/d/1')).toBeUndefined()
})

test('a literal cannot be left by what is in it', () => {
  expect(quote(`a'b\\'c`)).toBe(`'a\\'b\\\\\\'c'`)
})

test('settings, parameters and error codes are recognized in text', () => {
  expect(isSettingName('max_threads')).toBe(true)
  expect(isSettingName('a = 1; --')).toBe(false)
  expect(mentions('SELECT { a : String }', 'a')).toBe(true)
  expect(mentions('SELECT {ab:String}', 'a')).toBe(false)
  expect(changesSession(' set x = 1')).toBe(true)
  expect(changesSession('SELECT 1')).toBe(false)
  expect(errorCodeOf('Code: 62. DB::Exception: Syntax error')).toBe(62)
  expect(errorCodeOf('it broke')).toBe(1002)
})
