/** What remains of a segment without the datagrams that are the other server's. */
import { tables } from '../telemetry/tables.ts'
import { rowsOf, withoutDatagrams } from './manifest.ts'
import { compressBody, decompressBody, type Sealed, type WholeSegment } from './segment.ts'
import { withoutRows } from './select-rows.ts'

/**
 * @param taken places in the segment's manifest
 * @returns undefined if nothing remains
 */
export async function leaveOut(
  { header, body, manifest }: WholeSegment,
  taken: readonly number[],
): Promise<Sealed | undefined> {
  if (manifest === undefined) throw new Error('a segment without a manifest is whole or not at all')
  const native = await decompressBody(body, header.nativeBytes)
  const left = withoutRows(native, tables[header.kind], rowsOf(manifest, taken))
  if (left === undefined) return undefined
  return {
    rows: left.rows,
    nativeBytes: left.native.length,
    firstMs: header.firstMs,
    lastMs: header.lastMs,
    body: await compressBody(left.native),
    manifest: withoutDatagrams(manifest, taken),
  }
}
