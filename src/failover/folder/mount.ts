/** On what a path lies: its mount, by `/proc/self/mountinfo` (proc(5)). */
import type { Mount } from './protocol.ts'

/** The mount of a path, by the longest mount point that leads to it; the last one mounted wins. */
export function mountOf(path: string, mountinfo: string): Mount | undefined {
  let found: Mount | undefined
  for (const line of mountinfo.split('\n')) {
    const [before, after] = line.split(' - ')
    const point = unescaped(before?.split(' ')[4])
    const [type, source] = after?.split(' ') ?? []
    if (point === undefined || type === undefined) continue
    const leads = path === point || path.startsWith(point === '/' ? '/' : `${point}/`)
    if (!leads || (found !== undefined && point.length < found.point.length)) continue
    found = { point, type, source: unescaped(source) ?? '' }
  }
  return found
}

/** Blanks and the like are written as octal numbers there. */
function unescaped(text: string | undefined): string | undefined {
  return text?.replaceAll(/\\([0-7]{3})/g, (_, octal) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  )
}

/** Of file systems whose files are on another machine. */
const remote =
  /^(nfs4?|cifs|smb3|smbfs|9p|ceph|lustre|gpfs|beegfs|afs|ocfs2|gfs2|virtiofs|vboxsf|glusterfs|davfs2?)$|^fuse\.(sshfs|glusterfs|ceph|s3fs|rclone|mfs|juicefs|davfs|smb)/
/** Of file systems that are on this machine, disk or memory. */
const local =
  /^(ext[234]|xfs|btrfs|zfs|f2fs|jfs|reiserfs|bcachefs|vfat|exfat|ntfs3?|tmpfs|ramfs|overlay|squashfs|aufs|fuseblk)$/

/** Whether a file system of this type is on another machine; undefined where the type does not say. */
export function isRemote(type: string): boolean | undefined {
  if (remote.test(type)) return true
  if (local.test(type)) return false
  return undefined
}
