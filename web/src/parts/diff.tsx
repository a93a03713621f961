import { MergeView, unifiedMergeView } from '@codemirror/merge'
import { EditorState, type Extension } from '@codemirror/state'
import { EditorView, lineNumbers } from '@codemirror/view'
import { useEffect, useRef } from 'react'

const looks = EditorView.theme({
  '&': { fontSize: '12px', backgroundColor: 'transparent', color: 'var(--kw-text)' },
  '.cm-scroller': { fontFamily: 'var(--kw-mono)', lineHeight: '1.5' },
  '.cm-gutters': {
    backgroundColor: 'transparent',
    color: 'var(--kw-dim)',
    border: 'none',
    userSelect: 'none',
  },
  '.cm-changedLine': { backgroundColor: 'var(--kw-ok-soft) !important' },
  '&.cm-merge-a .cm-changedLine, .cm-deletedChunk': {
    backgroundColor: 'var(--kw-bad-soft) !important',
  },
  '.cm-changedText': { background: 'color-mix(in srgb, var(--kw-ok) 30%, transparent) !important' },
  '&.cm-merge-a .cm-changedText, .cm-deletedChunk .cm-deletedText': {
    background: 'color-mix(in srgb, var(--kw-bad) 30%, transparent) !important',
  },
  '.cm-collapsedLines': {
    background: 'var(--kw-sunken) !important',
    color: 'var(--kw-dim)',
    fontSize: '11.5px',
    padding: '3px 8px',
  },
  '.cm-collapsedLines:before, .cm-collapsedLines:after': {
    content: '"⋯"',
    color: 'var(--kw-dim)',
  },
  '.cm-changeGutter': { width: '3px' },
  '.cm-changedLineGutter': { background: 'var(--kw-ok)' },
  '&.cm-merge-a .cm-changedLineGutter, .cm-deletedLineGutter': { background: 'var(--kw-bad)' },
})

const readOnly: Extension[] = [
  EditorState.readOnly.of(true),
  EditorView.editable.of(false),
  EditorView.contentAttributes.of({ tabindex: '0', 'aria-readonly': 'true' }),
  lineNumbers(),
  looks,
]

const collapse = { margin: 3, minSize: 6 }
/** Bounds the exact comparison; beyond, whole blocks are marked instead of words. */
const diffConfig = { scanLimit: 2000, timeout: 300 }

/** Two texts compared, side by side or one into the other; unchanged parts folded away. */
export function Diff({
  before,
  after,
  unified,
}: {
  before: string
  after: string
  unified: boolean
}) {
  const box = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const parent = box.current!
    if (unified) {
      const view = new EditorView({
        parent,
        doc: after,
        extensions: [
          ...readOnly,
          EditorView.lineWrapping,
          unifiedMergeView({
            original: before,
            mergeControls: false,
            collapseUnchanged: collapse,
            diffConfig,
          }),
        ],
      })
      return () => view.destroy()
    }
    const view = new MergeView({
      parent,
      a: { doc: before, extensions: [...readOnly, EditorView.lineWrapping] },
      b: { doc: after, extensions: [...readOnly, EditorView.lineWrapping] },
      gutter: true,
      collapseUnchanged: collapse,
      diffConfig,
    })
    return () => view.destroy()
  }, [before, after, unified])
  return <div ref={box} className="code" data-testid="diff" />
}

/** One text with line numbers. */
export function Source({ text }: { text: string }) {
  const box = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const view = new EditorView({
      parent: box.current!,
      doc: text,
      extensions: [...readOnly, EditorView.lineWrapping],
    })
    return () => view.destroy()
  }, [text])
  return <div ref={box} className="code" data-testid="version-text" />
}
