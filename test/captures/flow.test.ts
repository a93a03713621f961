/**
 * Flow datagrams of real devices, decoded by Keepwatch and by tshark, compared field by field.
 * Captures and tshark are not part of the repository: where one is absent the comparison is skipped.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { parseAddress } from '../../src/telemetry/address.ts'
import { createBatch } from '../../src/telemetry/batch.ts'
import { flowTable } from '../../src/telemetry/flow.ts'
import { decodeNative, encodeNative, type Row } from '../../src/telemetry/native.ts'
import { createFlowDecoder, type FlowProblem } from '../../src/wire/flow-decoder.ts'
import { createRandom, mutate } from '../fixtures/mutate.ts'
import {
  type Capture,
  capturesExist,
  expectedRow,
  flowFolder,
  missedByTshark,
  readCaptures,
  reverseRow,
  split,
  titleOf,
} from './flow-captures.ts'
import { hasTshark, type Reading, readWithTshark } from './tshark.ts'

const received = Date.UTC(2026, 0, 1)

interface Decoded {
  rows: Row[]
  problems: FlowProblem[]
}

function decodeAll(captures: Capture[]): Decoded[] {
  let problems: FlowProblem[] = []
  const batch = createBatch(flowTable, 10_000, () => {})
  const decoder = createFlowDecoder({ batch, onProblem: problem => problems.push(problem) })
  return captures.map(({ address, bytes }) => {
    problems = []
    batch.clear()
    decoder.decode(bytes, parseAddress(address)!, 2055, received)
    return { rows: decodeNative(encodeNative(batch), flowTable).toRows(), problems }
  })
}

const runs = capturesExist && hasTshark()
const captures = capturesExist ? readCaptures() : []
const why = capturesExist ? 'tshark is not installed' : `there are no captures in ${flowFolder}`

describe.skipIf(!runs)(
  `flow captures, read as tshark reads them${runs ? '' : ` (skipped: ${why})`}`,
  () => {
    let readings: Reading[] = []
    let decoded: Decoded[] = []

    beforeAll(async () => {
      readings = await readWithTshark(captures)
      decoded = decodeAll(captures)
    }, 120_000)

    test('compares hundreds of flows', () => {
      const flows = readings.flatMap(reading => reading.flows)
      expect(readings).toHaveLength(captures.length)
      expect(flows.length).toBeGreaterThan(400)
    })

    for (const [index, { file }] of captures.entries()) {
      test(titleOf(captures, index), () => {
        const { rows } = decoded[index]!
        const reading = readings[index]!
        const rest = [...rows]
        for (const flow of reading.flows) {
          const row = rest.shift()
          expect(row).toMatchObject(expectedRow(flow, reading))
          const reverse = reverseRow(flow)
          if (reverse) expect(rest.shift()).toMatchObject(reverse)
        }
        expect(rest).toHaveLength(missedByTshark[file]?.rows ?? 0)
      })
    }
  },
)

describe.skipIf(!capturesExist)(`flow captures${capturesExist ? '' : ` (skipped: ${why})`}`, () => {
  test('of an IPFIX file give a row a record', () => {
    const file = new Uint8Array(readFileSync(join(flowFolder, 'ipfixcol2/example_flows.ipfix')))
    const address = '10.2.0.1'
    const messages = split(file).map(bytes => ({ file: '', device: '', address, bytes }))
    const decoded = decodeAll(messages)
    const problems = new Set(decoded.flatMap(message => message.problems))
    expect([...problems]).toEqual(['implausible-time'])
    expect(decoded.flatMap(({ rows }) => rows)).toHaveLength(3979)
  })

  test('with bytes changed, cut off and repeated neither throw nor fill the memory', () => {
    const batch = createBatch(flowTable, 1_000, full => full.clear())
    const bounds = { heldBytesInTotal: 64 * 1024, fieldsInTotal: 20_000, domainsPerExporter: 16 }
    const decoder = createFlowDecoder({ batch, onProblem: () => {} }, bounds)
    const random = createRandom(20_260_501)
    for (let round = 0; round < 40; round++) {
      for (const { address, bytes } of captures) {
        const mutant = mutate(bytes, random)
        decoder.decode(mutant, parseAddress(address)!, 2055, received + 1000 * round)
      }
    }
    expect(decoder.templates.heldBytes).toBeLessThanOrEqual(bounds.heldBytesInTotal)
    expect(decoder.templates.fields).toBeLessThanOrEqual(bounds.fieldsInTotal)
  }, 60_000)
})
