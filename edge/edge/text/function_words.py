"""Words that carry grammar, not content, in seven languages; lower case and without accents."""

from __future__ import annotations

ENGLISH = frozenset(
    """
    a about above after again all also although am an and any are as at be because been before being below
    between both but by can could did do does doing down during each either else ever few for from further had
    has have having he her here hers herself him himself his how i if in into is it its itself just may me might
    more most much must my myself neither no nor not of off on once one only onto or other our ours ourselves out
    over own per same shall she should since so some such than that the their theirs them themselves then there
    these they this those though through thus to too under until up upon us very was we were what when where
    whether which while who whom whose why will with within without would yet you your yours yourself
    """.split()
)

GERMAN = frozenset(
    """
    aber als also am an auch auf aus bei bin bis da damit dann das dass dem den denn der des die dies diese diesem
    diesen dieser dieses doch du durch ein eine einem einen einer eines er es fur gegen gibt hat hatte haben ich ihm
    ihn ihr ihre im in ist ja kann kein keine konnen man mehr mein mich mir mit muss nach nicht noch nun nur ob oder
    ohne sehr sein seine sich sie sind so soll sollte uber um und uns unter viel viele vom von vor wann war waren
    warum was weil welche welchem welchen welcher welches wenn wer werden wie wieso wird wir wo wodurch worden wurde
    wurden zu zum zur
    """.split()
)

FRENCH = frozenset(
    """
    a ai alors au aussi aux avec avait ce ces cet cette combien comme comment dans de des dont du elle elles en est et
    etait etaient ete etre eu fait il ils je la laquelle le les lequel leur leurs lui ma mais me meme mes mon ne nos
    notre nous on ont ou par pas plus pour pourquoi quand que quel quelle quelles quels qui quoi sa sans se ses si son
    sont sur ta te tes toi ton tu un une vos votre vous y
    """.split()
)

SPANISH = frozenset(
    """
    a al algo ante como con cual cuales cuando cuanto cuantos de del desde donde durante e el ella ellas ellos en entre
    era eran es esa ese eso esta estaba estan este esto fue fueron ha han hasta hay la las le les lo los mas me mi muy
    ni no nos o para pero por porque que quien quienes se segun ser si sin sobre son su sus tambien te tiene tu un una
    uno unos y ya yo
    """.split()
)

ITALIAN = frozenset(
    """
    a ad ai al alla alle anche che chi ci come con cosa cui da dal dalla dei del della delle di dove e ed era erano fu
    furono gli ha hanno i il in io la le lei lo loro lui ma mi ne nei nel nella nelle noi non o per perche piu qual
    quale quali quando quanti quanto questa questo se si sono sua sui sul sulla suo tra tu un una uno voi
    """.split()
)

PORTUGUESE = frozenset(
    """
    a ao aos as ate com como da das de del desde do dos e ela eles em entre era eram essa esse esta este foi foram ha
    isso isto ja lhe mais mas me mesmo muito na nao nas no nos o onde os ou para pela pelo por porque qual quais quando
    quanto quantos que quem se sem ser seu seus sao sobre sua suas tambem te tem um uma umas uns voce
    """.split()
)

DUTCH = frozenset(
    """
    aan als bij dan dat de deze die dit door een en er had heb heeft het hij hoe hoeveel hun ik in is je kan kunnen
    maar me meer met mijn na naar niet nog nu of om onder ook op over te tegen toen tot uit van voor waar waarom
    wanneer waren was wat we welk welke werd werden wie wij wordt worden zal ze zich zij zijn zo zou
    """.split()
)

OTHERS = (GERMAN, FRENCH, SPANISH, ITALIAN, PORTUGUESE, DUTCH)
