import { mountOf } from '../folder/mount.ts'

/**
 * The host that serves the file system of a path. Pure.
 *
 * @param mountinfo the text of /proc/self/mountinfo
 * @returns null if it is on a disk of this machine, or if that cannot be told
 */
export function folderHostOf(path: string, mountinfo: string): string | null {
  const source = mountOf(path, mountinfo)?.source ?? ''
  const share = /^\/\/([^/]+)\//.exec(source)?.[1]
  if (share !== undefined) return share
  // `host:/path`, `[2001:db8::1]:/path`, `user@host:/path`
  const exported = /^(?:[^/@:]+@)?(?:\[([^\]]+)\]|([^/:[\]]+)):/.exec(source)
  return exported?.[1] ?? exported?.[2] ?? null
}
