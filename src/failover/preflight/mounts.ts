/** Where a folder really is, by the kernel's table of mounts. Pure. */

/**
 * The host that serves the file system of a path.
 *
 * @param mounts the text of /proc/self/mountinfo, see proc_pid_mountinfo(5)
 * @returns null if it is on a disk of this machine, or if that cannot be told
 */
export function hostOfMount(mounts: string, path: string): string | null {
  let best: { at: string; source: string } | undefined
  for (const line of mounts.split('\n')) {
    const [before, after] = line.split(' - ')
    const at = unescape(before?.split(' ')[4] ?? '')
    const [, source = ''] = after?.split(' ') ?? []
    const inside = path === at || path.startsWith(at === '/' ? '/' : `${at}/`)
    if (at !== '' && inside && at.length >= (best?.at.length ?? 0)) {
      best = { at, source: unescape(source) }
    }
  }
  return best === undefined ? null : hostOf(best.source)
}

/** `host:/path`, `[2001:db8::1]:/path`, `user@host:/path`, `//host/share`. */
function hostOf(source: string): string | null {
  const share = /^\/\/([^/]+)\//.exec(source)?.[1]
  if (share !== undefined) return share
  const exported = /^(?:[^/@:]+@)?(?:\[([^\]]+)\]|([^/:[\]]+)):/.exec(source)
  return exported?.[1] ?? exported?.[2] ?? null
}

/** Blanks are written as `\040`. */
function unescape(text: string): string {
  return text.replaceAll(/\\(\d{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  )
}
