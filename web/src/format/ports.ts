/** What raw values of dimensions mean. */
import { protocolNames, serviceNames } from '../../../src/telemetry/services.ts'

const formats: Record<number, string> = {
  5: 'NetFlow v5',
  7: 'NetFlow v7',
  9: 'NetFlow v9',
  10: 'IPFIX',
  105: 'sFlow v5',
}

export function formatName(version: number): string {
  return formats[version] ?? `format ${version}`
}

/**
 * What stands beside a raw value of a dimension to make it readable: the service of a port, the
 * name of a protocol or format, the meaning of zero. Undefined where the value speaks for itself.
 */
export function meaningOf(dimension: string, value: string): string | undefined {
  const number = Number(value)
  switch (dimension) {
    case 'src.port':
    case 'port':
    case 'dst.port':
      return serviceNames[number]
    case 'protocol':
      return protocolNames[number]
    case 'version':
      return formats[number]
    case 'in.if':
    case 'out.if':
      return value === '0' ? 'not said' : undefined
    case 'src.as':
    case 'dst.as':
      return value === '0'
        ? 'not said'
        : number >= 64_512 && number <= 65_534
          ? 'private'
          : undefined
    case 'src.vlan':
    case 'dst.vlan':
      return value === '0' ? 'untagged' : undefined
    case 'next.hop':
      return value === '::' || value === '0.0.0.0' ? 'not said' : undefined
    default:
      return undefined
  }
}
