'use strict';

// Which form the user's code has, told by its tokens: words in strings,
// templates, regular expressions and comments do not count. This is no parser: it
// knows just enough of the grammar to tell a regular expression from a division.
// Every pattern below matches up to the end at worst, so scanning is linear in
// the source whatever it is.

const blank = /(?:\s+|\/\/[^\n\r\u2028\u2029]*|\/\*(?:[^*]|\*(?!\/))*(?:\*\/)?)*/y;
const number = /\.?\d[\w.]*/y;
const word = /(?:[\w$\\]|[^\x00-\x7f\s])+/y;
const quoted = { "'": /'(?:[^'\\\n\r]+|\\(?:\r\n|[^]))*'?/y, '"': /"(?:[^"\\\n\r]+|\\(?:\r\n|[^]))*"?/y };
const template = /(?:[^`\\$]+|\\[^]?|\$(?!\{))*(?:`|\$\{)?/y; // up to its end or a substitution
const regex = /\/(?:\\.|\[(?:\\.|[^\]\\\n\r])*\]?|[^/\\[\n\r])*(?:\/[\w$]*)?/y;
const punctuator = /=>|===?|!==?|[<>]=|\+\+|--|\?\.|\.\.\.|[^]/y;

const wordsBeforeExpression = new Set([
  'await', 'case', 'delete', 'do', 'else', 'extends', 'in', 'instanceof', 'new', 'of', 'return', 'throw', 'typeof', 'void', 'yield',
]);
const wordsBeforeBlock = new Set(['do', 'else']);
const wordsBeforeCondition = new Set(['for', 'if', 'while', 'with']);
const closing = new Set([')', ']', '}']);

// A Scanner cuts source into tokens of { kind, text, at, depth }.
class Scanner {
  tokens = [];
  closers = new Map(); // from a square bracket's place in tokens to its end's
  stray; // where the first closing bracket without an opening one is
  #source;
  #at = 0;
  #open = []; // per open bracket: its text, and whether an expression may follow its end
  #endsStatement = false; // of the bracket closed last

  constructor(source) {
    this.#source = source;
    for (this.#match(blank); this.#at < source.length; this.#match(blank)) this.#token();
  }

  #token() {
    const c = this.#source[this.#at];
    if (c in quoted) return this.#add('string', quoted[c]);
    if (c === '`') return this.#template('`');
    if (c === '/' && this.#expressionMayFollow()) return this.#add('regex', regex);
    if (this.#matches(number)) return this.#add('number', number);
    if (this.#matches(word)) return this.#add('word', word);
    if (c === '}' && this.#open.at(-1)?.text === '${') return this.#template(this.#close(c));
    if (c === '(' || c === '[' || c === '{') this.#openBracket(c);
    else if (closing.has(c)) this.#close(c);
    return this.#add('punctuator', punctuator);
  }

  // template scans from a backtick, or from the end of a substitution, on.
  #template(opening) {
    const at = this.#at;
    this.#at += opening.length;
    const text = this.#match(template);
    this.#push('template', text, at);
    if (text.endsWith('${')) this.#open.push({ text: '${', endsStatement: false });
  }

  #openBracket(text) {
    const previous = this.tokens.at(-1);
    const endsStatement = text === '(' ? this.#beforeCondition(previous) : text === '{' && this.#beforeBlock(previous);
    this.#open.push({ text, endsStatement, index: this.tokens.length });
  }

  #close(text) {
    const bracket = this.#open.pop();
    if (bracket === undefined) this.stray ??= this.#at;
    else if (text === ']') this.closers.set(bracket.index, this.tokens.length);
    this.#endsStatement = bracket?.endsStatement ?? true;
    return text;
  }

  #beforeCondition(previous) {
    if (previous?.text === 'await') return this.tokens.at(-2)?.text === 'for';
    return wordsBeforeCondition.has(previous?.text) && !this.#isProperty();
  }

  // beforeBlock tells a block from an object literal.
  #beforeBlock(previous) {
    if (previous === undefined) return true;
    if (previous.kind === 'word') {
      return wordsBeforeBlock.has(previous.text) || this.#isProperty() || !wordsBeforeExpression.has(previous.text);
    }
    if (previous.text === ':') return this.#open.at(-1)?.endsStatement ?? true;
    return [';', '{', '}', ')', '=>'].includes(previous.text);
  }

  // expressionMayFollow tells whether a slash begins a regular expression.
  #expressionMayFollow() {
    const previous = this.tokens.at(-1);
    if (previous === undefined) return true;
    const { kind, text } = previous;
    if (kind === 'word') return wordsBeforeExpression.has(text) && !this.#isProperty();
    if (kind === 'template') return text.endsWith('${');
    if (kind !== 'punctuator') return false;
    if (text === ')' || text === '}') return this.#endsStatement;
    return text !== ']' && text !== '++' && text !== '--';
  }

  // isProperty tells whether the last token is the name after a dot.
  #isProperty() {
    const before = this.tokens.at(-2)?.text;
    return before === '.' || before === '?.';
  }

  #matches(pattern) {
    pattern.lastIndex = this.#at;
    return pattern.test(this.#source);
  }

  #match(pattern) {
    pattern.lastIndex = this.#at;
    const [text] = pattern.exec(this.#source);
    this.#at += text.length;
    return text;
  }

  #add(kind, pattern) {
    const at = this.#at;
    this.#push(kind, this.#match(pattern), at);
  }

  #push(kind, text, at) {
    this.tokens.push({ kind, text, at, depth: this.#open.length });
  }
}

// formOf is "module", "commonjs" or "fragment".
function formOf(source) {
  if (!/export|import/.test(source)) return 'fragment';
  const { tokens, closers } = new Scanner(source);
  let form = 'fragment';
  for (let i = 0; i < tokens.length; i++) {
    if (isModuleSyntax(tokens, i)) return 'module';
    if (isExportsAssignment(tokens, i, closers)) form = 'commonjs';
  }
  return form;
}

// isModuleSyntax finds an import or export declaration at the top level. Both are
// reserved words, so they cannot be anything but a property, import() or import.meta.
function isModuleSyntax(tokens, i) {
  const { kind, text, depth } = tokens[i];
  if (kind !== 'word' || depth !== 0 || isDot(tokens[i - 1])) return false;
  if (text === 'export') return true;
  return text === 'import' && !isDot(tokens[i + 1]) && tokens[i + 1]?.text !== '(';
}

// isExportsAssignment finds "exports" that begins the left side of an assignment:
// module.exports = …, module.exports.x = …, exports.x = …, exports['x'] = ….
function isExportsAssignment(tokens, i, closers) {
  if (tokens[i].kind !== 'word' || tokens[i].text !== 'exports') return false;
  const ofModule = isDot(tokens[i - 1]) && tokens[i - 2]?.text === 'module' && !isDot(tokens[i - 3]);
  if (isDot(tokens[i - 1]) && !ofModule) return false;
  let end = i + 1;
  for (;;) {
    if (tokens[end]?.text === '.') end += 2;
    else if (tokens[end]?.text === '[') end = (closers.get(end) ?? tokens.length) + 1;
    else break;
  }
  return tokens[end]?.text === '=' && tokens[end].kind === 'punctuator' && (ofModule || end > i + 1);
}

function isDot(token) {
  return token?.text === '.' || token?.text === '?.';
}

// strayBracket is the place of the first closing bracket that nothing opened.
function strayBracket(source) {
  return placeAt(source, new Scanner(source).stray ?? 0);
}

// topLevelWord is the place of the first such word in no bracket, if there is one.
function topLevelWord(source, text) {
  const found = new Scanner(source).tokens.find((token) => token.kind === 'word' && token.text === text && token.depth === 0);
  return found && placeAt(source, found.at);
}

// deepestBracket is the place of the bracket inside most others. It counts those in
// strings too: next to the thousands that overflow a parser they do not matter, and
// the tokens of such a source might not fit into memory.
function deepestBracket(source) {
  let [depth, deepest, at] = [0, 0, 0];
  for (let i = 0; i < source.length; i++) {
    if (closing.has(source[i])) depth--;
    else if ('([{'.includes(source[i]) && ++depth > deepest) [deepest, at] = [depth, i];
  }
  return placeAt(source, at);
}

// placeAt is the line and column of an offset, both from 1.
function placeAt(source, offset) {
  const before = source.slice(0, offset).split('\n');
  return { line: before.length, column: before.at(-1).length + 1 };
}

// withoutModuleSyntax blanks import and export out of a module, so that what is
// left may be a function body with everything in its place.
function withoutModuleSyntax(source) {
  const { tokens } = new Scanner(source);
  let text = '';
  let end = 0;
  for (let i = 0; i < tokens.length; i++) {
    if (!isModuleSyntax(tokens, i)) continue;
    const last = endOfDeclaration(tokens, i);
    const to = tokens[last].at + tokens[last].text.length;
    const blank = source.slice(tokens[i].at, to).replace(/[^\n\r]/g, ' ');
    text += source.slice(end, tokens[i].at) + (tokens[last].text === 'default' ? blank.replace('  ', '_=') : blank);
    [end, i] = [to, last];
  }
  return text + source.slice(end);
}

// endOfDeclaration is the last token of what is no plain statement about an
// import or export: the name of the module, the brace after the names, or the
// word before what is exported.
function endOfDeclaration(tokens, i) {
  const isImport = tokens[i].text === 'import';
  const next = tokens[i + 1]?.text;
  if (!isImport && next !== '{' && next !== '*') return next === 'default' ? i + 1 : i;
  let end = i;
  while (end < tokens.length - 1 && tokens[end].kind !== 'string' && tokens[end].text !== ';') {
    end++;
    if (!isImport && tokens[end].text === '}' && tokens[end + 1]?.text !== 'from') break;
  }
  return end;
}

module.exports = { deepestBracket, formOf, strayBracket, topLevelWord, withoutModuleSyntax };
