import { expect, test } from 'vitest'
import { folderHostOf } from './folder-host.ts'

const mounts = [
  '22 1 8:1 / / rw - ext4 /dev/sda1 rw',
  '30 22 0:40 / /mnt/nfs rw - nfs4 files.example.net:/export/keepwatch rw',
  '31 22 0:41 / /mnt/nfs6 rw - nfs4 [2001:db8::7]:/export rw',
  '32 22 0:42 / /mnt/share rw - cifs //nas.example.net/keepwatch rw',
  '33 22 0:43 / /mnt/ssh rw - fuse.sshfs backup@192.0.2.7:/srv rw',
  '34 30 8:2 / /mnt/nfs/local rw - xfs /dev/sdb1 rw',
  '35 22 0:44 / /mnt/with\\040blank rw - nfs 192.0.2.8:/a rw',
].join('\n')

test.each([
  ['/mnt/nfs', 'files.example.net'],
  ['/mnt/nfs/deep/inside', 'files.example.net'],
  ['/mnt/nfs6', '2001:db8::7'],
  ['/mnt/share', 'nas.example.net'],
  ['/mnt/ssh', '192.0.2.7'],
  ['/mnt/with blank/x', '192.0.2.8'],
  ['/mnt/nfs/local', null],
  ['/mnt/nfsx', null],
  ['/var/lib/keepwatch', null],
])('%s is served by %s', (path, host) => {
  expect(folderHostOf(path, mounts)).toBe(host)
})
