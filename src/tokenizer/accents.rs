//! Letters without their accents: the first character of each one's canonical decomposition, as
//! <https://www.unicode.org/Public/UCD/latest/ucd/UnicodeData.txt> has it. What follows the first are marks.

/// A letter, then the characters that decompose into it and marks, for one letter after the other. Upper case is left out
/// where lower case tells it, and so are Hangul, which is computed, and ideographs for compatibility.
const GROUPS: &str = "\
    ;; <≮ =≠ >≯ Iİ KK `` aàáâãäåāăąǎǟǡǻȁȃȧḁạảấầẩẫậắằẳẵặ bḃḅḇ cçćĉċčḉ dďḋḍḏḑḓ eèéêëēĕėęěȅȇȩḕḗḙḛḝẹẻẽếềểễệ fḟ gĝğġģǧǵḡ \
    hĥȟḣḥḧḩḫẖ iìíîïĩīĭįǐȉȋḭḯỉị jĵǰ kķǩḱḳḵ lĺļľḷḹḻḽ mḿṁṃ nñńņňǹṅṇṉṋ oòóôõöōŏőơǒǫǭȍȏȫȭȯȱṍṏṑṓọỏốồổỗộớờởỡợ pṕṗ \
    rŕŗřȑȓṙṛṝṟ sśŝşšșṡṣṥṧṩ tţťțṫṭṯṱẗ uùúûüũūŭůűųưǔǖǘǚǜȕȗṳṵṷṹṻụủứừửữự vṽṿ wŵẁẃẅẇẉẘ xẋẍ yýÿŷȳẏẙỳỵỷỹ zźżžẑẓẕ ¨΅῁῭΅ ´´ \
    ·· æǣǽ øǿ ſẛ ʒǯ ʹʹ \u{300}\u{340} \u{301}\u{341} \u{308}\u{344} \u{313}\u{343} ΩΩ αάἀἁἂἃἄἅἆἇὰάᾀᾁᾂᾃᾄᾅᾆᾇᾰᾱᾲᾳᾴᾶᾷ \
    εέἐἑἒἓἔἕὲέ ηήἠἡἢἣἤἥἦἧὴήᾐᾑᾒᾓᾔᾕᾖᾗῂῃῄῆῇ ιΐίϊἰἱἲἳἴἵἶἷὶίιῐῑῒΐῖῗ οόὀὁὂὃὄὅὸό ρῤῥ υΰϋύὐὑὒὓὔὕὖὗὺύῠῡῢΰῦῧ \
    ωώὠὡὢὣὤὥὦὧὼώᾠᾡᾢᾣᾤᾥᾦᾧῲῳῴῶῷ ϒϓϔ аӑӓ гѓ еѐёӗ жӂӝ зӟ ийѝӣӥ кќ оӧ уўӯӱӳ чӵ ыӹ эӭ ії ѵѷ әӛ өӫ אאַאָאּ בבּבֿ גגּ דדּ ההּ ווּוֹ זזּ \
    טטּ ייִיּ ךךּ ככּכֿ ללּ ממּ ננּ ססּ ףףּ פפּפֿ צצּ קקּ ררּ ששׁשׂשּׁשּׂשּ תתּ ײײַ اآأإ وؤ يئ ہۂ ےۓ ەۀ कक़ खख़ गग़ जज़ डड़ ढढ़ नऩ फफ़ यय़ रऱ ळऴ ডড় \
    ঢঢ় যয় \u{9c7}\u{9cb}\u{9cc} ਖਖ਼ ਗਗ਼ ਜਜ਼ ਫਫ਼ ਲਲ਼ ਸਸ਼ ଡଡ଼ ଢଢ଼ \u{b47}\u{b48}\u{b4b}\u{b4c} ஒஔ \u{bc6}\u{bca}\u{bcc} \
    \u{bc7}\u{bcb} \u{c46}\u{c48} \u{cbf}\u{cc0} \u{cc6}\u{cc7}\u{cc8}\u{cca}\u{ccb} \u{d46}\u{d4a}\u{d4c} \
    \u{d47}\u{d4b} \u{dd9}\u{dda}\u{ddc}\u{ddd}\u{dde} ཀཀྵ གགྷ ཌཌྷ དདྷ བབྷ ཛཛྷ \u{f71}\u{f73}\u{f75}\u{f81} \u{f90}\u{fb9} \
    \u{f92}\u{f93} \u{f9c}\u{f9d} \u{fa1}\u{fa2} \u{fa6}\u{fa7} \u{fab}\u{fac} \u{fb2}\u{f76} \u{fb3}\u{f78} ဥဦ ᬅᬆ \
    ᬇᬈ ᬉᬊ ᬋᬌ ᬍᬎ ᬑᬒ \u{1b3a}\u{1b3b} \u{1b3c}\u{1b3d} \u{1b3e}\u{1b40} \u{1b3f}\u{1b41} \u{1b42}\u{1b43} ᾿῍῎῏ ῾῝῞῟ \
    \u{2002}\u{2000} \u{2003}\u{2001} ←↚ →↛ ↔↮ ⇐⇍ ⇒⇏ ⇔⇎ ∃∄ ∈∉ ∋∌ ∣∤ ∥∦ ∼≁ ≃≄ ≅≇ ≈≉ ≍≭ ≡≢ ≤≰ ≥≱ ≲≴ ≳≵ ≶≸ ≷≹ ≺⊀ ≻⊁ ≼⋠ \
    ≽⋡ ⊂⊄ ⊃⊅ ⊆⊈ ⊇⊉ ⊑⋢ ⊒⋣ ⊢⊬ ⊨⊭ ⊩⊮ ⊫⊯ ⊲⋪ ⊳⋫ ⊴⋬ ⊵⋭ ⫝⫝̸ 〈〈 〉〉 うゔ かが きぎ くぐ けげ こご さざ しじ すず せぜ そぞ ただ ちぢ つづ てで とど はばぱ ひびぴ \
    ふぶぷ へべぺ ほぼぽ ゝゞ ウヴ カガ キギ クグ ケゲ コゴ サザ シジ スズ セゼ ソゾ タダ チヂ ツヅ テデ トド ハバパ ヒビピ フブプ ヘベペ ホボポ ワヷ ヰヸ ヱヹ ヲヺ ヽヾ 𑂙𑂚 𑂛𑂜 𑂥𑂫 \
    \u{11131}\u{1112e} \u{11132}\u{1112f} \u{11347}\u{1134b}\u{1134c} \u{114b9}\u{114bb}\u{114bc}\u{114be} \
    \u{115b8}\u{115ba} \u{115b9}\u{115bb} \u{11935}\u{11938} 𝅗𝅗𝅥 𝅘𝅘𝅥𝅘𝅥𝅮𝅘𝅥𝅯𝅘𝅥𝅰𝅘𝅥𝅱𝅘𝅥𝅲 𝆹𝆹𝅥𝆹𝅥𝅮𝆹𝅥𝅯 𝆺𝆺𝅥𝆺𝅥𝅮𝆺𝅥𝅯";

/// The first syllable of Hangul, the last, and how many begin with one consonant.
const HANGUL: (u32, u32, u32) = (0xac00, 0xd7a3, 588);
/// The first of the consonants.
const CONSONANT: u32 = 0x1100;

/// Characters that decompose, each with its first, in order.
#[derive(Debug)]
pub struct Accents {
    firsts: Vec<(char, char)>,
}

impl Accents {
    pub fn new() -> Accents {
        let pairs = GROUPS.split(' ').flat_map(|group| {
            let mut letters = group.chars();
            let first = letters.next();
            letters.filter_map(move |letter| Some((letter, first?)))
        });
        let mut firsts: Vec<(char, char)> = pairs.collect();
        firsts.sort_unstable();
        Accents { firsts }
    }

    /// The first character that `character` decomposes into: itself, where it does not.
    pub fn first(&self, character: char) -> char {
        let code = u32::from(character);
        if code < 0x80 {
            return character;
        }
        if (HANGUL.0..=HANGUL.1).contains(&code) {
            return char::from_u32(CONSONANT + (code - HANGUL.0) / HANGUL.2).unwrap_or(character);
        }
        let find = |letter: char| {
            let at = self.firsts.binary_search_by_key(&letter, |(letter, _)| *letter).ok()?;
            Some(self.firsts[at].1)
        };
        let of_lower = || find(single(character.to_lowercase())?).and_then(|first| single(first.to_uppercase()));
        find(character).or_else(of_lower).unwrap_or(character)
    }
}

/// The only character, if there is one.
fn single(mut characters: impl Iterator<Item = char>) -> Option<char> {
    let first = characters.next()?;
    characters.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_lose_their_accents() {
        let accents = Accents::new();
        for (letters, firsts) in [
            ("éÉñÑüÜÅ\u{212b}\u{1ed9}\u{1ed8}", "eEnNuUAAoO"),
            ("άΆΰΐ\u{1f82}\u{1f8a}\u{2126}", "αΑυιαΑΩ"),
            ("йЙёЁїЇ", "иИеЕіІ"),
            ("가힣한", "\u{1100}\u{1112}\u{1112}"),
            ("がガ\u{30fa}", "かカヲ"),
            ("İ\u{1e9e}ıßøłđæﬁ①", "I\u{1e9e}ıßøłđæﬁ①"),
            ("aZ0 中🙂\u{301}\u{37e}\u{2000}", "aZ0 中🙂\u{301};\u{2002}"),
        ] {
            let got: String = letters.chars().map(|letter| accents.first(letter)).collect();
            assert_eq!(got, firsts, "{letters}");
        }
    }

    #[test]
    fn every_group_is_a_letter_and_what_decomposes_into_it() {
        assert!(GROUPS.split(' ').all(|group| group.chars().count() > 1));
        let firsts = Accents::new().firsts;
        assert!(firsts.windows(2).all(|pair| pair[0].0 < pair[1].0), "each is there once");
    }
}
