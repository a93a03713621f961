import { describe, expect, test } from 'vitest'
import {
  createBench,
  type Field,
  ipfix,
  netflow9,
  optionsTemplate9,
  optionsTemplate10,
  received,
  set,
  text,
  u16,
  u32,
} from '../../test/fixtures/flow-messages.ts'

const dayMs = 86_400_000
const padded = (name: string, width: number) => [
  ...text(name),
  ...new Array(width - name.length).fill(0),
]
const interfaceFields: Field[] = [
  [82, 16],
  [83, 16],
]
const interfaces = (...names: [index: number, name: string, description: string][]) =>
  netflow9([
    optionsTemplate9(260, [[2, 4]], interfaceFields),
    set(
      260,
      ...names.map(([index, name, more]) => [
        ...u32(index),
        ...padded(name, 16),
        ...padded(more, 16),
      ]),
    ),
  ])

describe('names that an exporter says in its stream', () => {
  test('are of interfaces, by the scope of NetFlow 9 options', () => {
    const bench = createBench()
    bench.decode(interfaces([7, 'Gi0/7', 'to Berlin'], [8, 'Gi0/8', '']))
    expect(bench.problems).toEqual([])
    expect(bench.names()).toMatchObject([
      { exporter: '203.0.113.1', what: 1, id: 7, name: 'Gi0/7', description: 'to Berlin' },
      { what: 1, id: 8, name: 'Gi0/8', description: '' },
    ])
  })

  test('are of applications: engine and selector as flow records have them (RFC 6759)', () => {
    const bench = createBench()
    bench.decode(
      ipfix([
        optionsTemplate10(260, 1, [
          [95, 4],
          [96, 65535],
          [94, 65535],
        ]),
        set(260, [13, 0, 0, 79, 4, ...text('http'), 3, ...text('web')]),
      ]),
    )
    expect(bench.names()).toMatchObject([
      { what: 2, id: 13 * 2 ** 24 + 79, name: 'http', description: 'web' },
    ])
  })

  test('are of VRFs', () => {
    const bench = createBench()
    bench.decode(
      ipfix([
        optionsTemplate10(260, 1, [
          [234, 4],
          [236, 8],
        ]),
        set(260, u32(9), padded('blue', 8)),
      ]),
    )
    expect(bench.names()).toMatchObject([{ what: 3, id: 9, name: 'blue' }])
  })

  test('are handed on when they are news, and once a day', () => {
    const bench = createBench()
    const said = () => bench.names().map(({ name }) => name)
    bench.decode(interfaces([7, 'Gi0/7', '']))
    expect(said()).toEqual(['Gi0/7'])
    bench.decode(interfaces([7, 'Gi0/7', '']))
    expect(said()).toEqual([])
    bench.decode(interfaces([7, 'uplink', '']))
    expect(said()).toEqual(['uplink'])
    bench.decode(interfaces([7, 'uplink', '']), { received: received + dayMs })
    expect(said()).toEqual(['uplink'])
  })

  test('are remembered within a bound', () => {
    const bench = createBench({ namesPerExporter: 2 })
    bench.decode(interfaces([7, 'a', ''], [8, 'b', ''], [9, 'c', '']))
    expect(bench.names()).toHaveLength(2)
    expect(bench.problems).toEqual(['too-many-names'])
  })

  test('never hold what a terminal or a page would act on', () => {
    const bench = createBench()
    bench.decode(interfaces([7, '\u001b[31mred\n', '']))
    expect(bench.names()).toMatchObject([{ name: '[31mred' }])
  })

  test('do not make a rate of the interface that they are of', () => {
    const bench = createBench()
    bench.decode(
      netflow9([
        optionsTemplate9(
          260,
          [[1, 4]],
          [
            [10, 2],
            [82, 8],
            [34, 4],
          ],
        ),
        set(260, u32(0), u16(7), padded('Gi0/7', 8), u32(100)),
      ]),
    )
    expect(bench.names()).toMatchObject([{ id: 7, name: 'Gi0/7' }])
    const [health] = bench.decoder.exporters()
    expect(health?.problems.size).toBe(0)
  })
})
