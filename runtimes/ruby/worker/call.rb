# Frames on the socketpair to the host (runtimes/PROTOCOL.md), and calls.
require 'json'

module Envoke
  WORKER = self # nobody finds it under its name once it runs
  CHECK, LOAD, INVOKE, MORE, CANCEL = *1..5
  READY, LOADED, RESULT, FAILED, LOG, STREAM, PART = *16..22
  INPUT, OUTPUT = IO.for_fd(3, 'rb', autoclose: false), IO.for_fd(3, 'wb', autoclose: false)
  WRITING = Mutex.new
  INFO, WARN, ERROR = 1, 2, 3
  MAX_ENTRY, MAX_LOGGED, ENTRY_COST = 8 << 10, 1 << 20, 16 # bytes

  # Waits for a frame: its type, its call and its payload.
  def self.receive
    length, kind, call = (INPUT.read(9) || Process.exit!(0)).unpack('NCN')
    die('a frame without a header') if length < 5
    [kind, call, INPUT.read(length - 5)]
  rescue SystemCallError, IOError
    Process.exit!(0)
  end

  # Writes a frame in whole, whatever other threads do or raise here meanwhile.
  def self.tell(kind, call, payload)
    Thread.handle_interrupt(Object => :never) do
      WRITING.synchronize { OUTPUT.write([5 + payload.bytesize, kind, call].pack('NCN') + payload.b) }
    end
  rescue SystemCallError, IOError
    Process.exit!(0)
  end

  # Ends a worker that cannot go on.
  def self.die(reason)
    STDERR.syswrite("worker: the host sent #{reason}\n")
  ensure
    Process.exit!(70)
  end

  # Returns a text in UTF-8, cut to a number of bytes, but not within a character.
  def self.cut(text, limit = text.bytesize * 3)
    text = text.encode(Encoding::UTF_8, invalid: :replace, undef: :replace) unless text.encoding == Encoding::BINARY
    text.dup.force_encoding(Encoding::UTF_8).scrub.byteslice(0, limit).scrub('')
  end

  # A call is a question that is answered once, and what is printed for it: a new thread
  # is in the group of the thread that started it.
  class Call < ThreadGroup
    def self.current
      call = Thread.current.group
      Call === call && !call.answered ? call : BACKGROUND
    end
    attr_reader :answered

    def initialize(id) = (@id, @partial, @left, @dropped = id, {}, MAX_LOGGED, 0)
    def renew = @left = MAX_LOGGED

    def answer(kind, payload)
      @partial.keys.each { |level| end_line(level) }
      WORKER.tell(LOG, @id, "#{WARN.chr}#{@dropped} more characters were not logged") if @dropped > 0
      @answered = true
      WORKER.tell(kind, @id, payload)
    end

    # Logs a text that ends its line; another waits for the rest.
    def print(level, text)
      text = @partial.delete(level).to_s + WORKER.cut(text)
      return log(level, text.chomp) if text.end_with?("\n")
      @partial[level] = text[0, MAX_ENTRY] unless text.empty?
    end

    def end_line(level) = (text = @partial.delete(level)) && log(level, text)

    def log(level, text)
      entry = WORKER.cut(text, MAX_ENTRY)
      return @dropped += text.size if (@left -= ENTRY_COST + entry.bytesize) < 0
      WORKER.tell(LOG, @id, level.chr + entry)
    end
  end
  BACKGROUND = Call.new(0) # of what is printed outside of any call

  # Standard output and error: whatever prints in Ruby comes by their write.
  class Printed < IO
    def level = @level ||= fileno == 1 ? INFO : ERROR
    def flush = tap { Call.current.end_line(level) }
    def close = flush && nil
    def write(*texts) = texts.join.tap { |text| Call.current.print(level, text) }.bytesize
    def write_nonblock(text, **) = write(text)
  end

  def self.take_output
    OUTPUT.sync = true
    $stdout, $stderr = Printed.for_fd(1, 'w', autoclose: false), Printed.for_fd(2, 'w', autoclose: false)
    Object.class_eval { remove_const(:STDOUT) && const_set(:STDOUT, $stdout) }
    Warning.define_singleton_method(:warn) { |text, **| Call.current.print(WARN, text) }
  end
end
