import { formatAddress, parseAddress } from '../../telemetry/address.ts'
import { ApiError } from '../handler.ts'

/** An address of a path as telemetry writes it. @throws ApiError */
export function readAddress(text: string): string {
  const bytes = parseAddress(text)
  if (!bytes) throw new ApiError('bad-request', `"${text}" is not an address`)
  return formatAddress(bytes)
}
